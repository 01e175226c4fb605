import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { openFileStore } from "../../../src/store/file/file-store.ts";
import { describeStoreContract } from "../store-contract.ts";

const storageDir = mkdtempSync(path.join(tmpdir(), "file-store-"));
const log = { info() {}, warn() {}, error() {} };

describeStoreContract("the file store", () =>
  openFileStore(
    { storageDir, lockStaleMs: 10_000, lockWaitMs: 250 },
    {
      log,
      onFatal(error) {
        throw error;
      },
    },
  ),
);
