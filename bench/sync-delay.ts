import fs from "node:fs";

/**
 * Makes every sync of a process slower by SYNC_DELAY_MS, as on a disk that is reached over a network:
 * `node --import sync-delay.js …`. The calls with a callback wait without blocking the event loop, as the disk would; the
 * others block.
 */
const { SYNC_DELAY_MS } = process.env;
const delayMs = Number(SYNC_DELAY_MS);
if (!(delayMs > 0)) throw new Error(`expected SYNC_DELAY_MS in milliseconds, got ${SYNC_DELAY_MS}`);

const cell = new Int32Array(new SharedArrayBuffer(4));

for (const name of ["fsync", "fdatasync"] as const) {
  const sync = fs[name];
  fs[name] = ((fd: number, callback: fs.NoParamCallback) => {
    setTimeout(() => sync(fd, callback), delayMs);
  }) as typeof sync;
}
for (const name of ["fsyncSync", "fdatasyncSync"] as const) {
  const sync = fs[name];
  fs[name] = (fd) => {
    Atomics.wait(cell, 0, 0, delayMs);
    sync(fd);
  };
}
