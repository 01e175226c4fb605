import { clockScenarios } from "./scenarios/clock.ts";
import { diskScenarios } from "./scenarios/disk.ts";
import { fileScenarios } from "./scenarios/files.ts";
import { injectionScenarios } from "./scenarios/injection.ts";
import { keyScenarios } from "./scenarios/keys.ts";
import { killScenarios } from "./scenarios/kill.ts";
import { loadScenarios } from "./scenarios/load.ts";
import { loweringScenarios } from "./scenarios/lowering.ts";
import { pauseScenarios } from "./scenarios/pause.ts";
import { powerScenarios } from "./scenarios/power.ts";
import type { Scenario } from "./trial.ts";

/** All of them; the longest first, for several run side by side. */
export const scenarios: readonly Scenario[] = [
  ...loadScenarios,
  ...killScenarios,
  ...powerScenarios,
  ...injectionScenarios,
  ...keyScenarios,
  ...pauseScenarios,
  ...loweringScenarios,
  ...clockScenarios,
  ...diskScenarios,
  ...fileScenarios,
];
