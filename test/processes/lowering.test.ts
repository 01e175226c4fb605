import { test } from "@jest/globals";
import { loweringScenarios } from "../faults/scenarios/lowering.ts";
import { withTrial } from "./with-trial.ts";

// Each takes a few of the steps, by its seed; the fault run takes them all.
for (const { name, about, run } of loweringScenarios) test(`${name}: ${about}`, withTrial(run));
