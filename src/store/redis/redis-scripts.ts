import { createHash } from "node:crypto";
import type { Claim } from "../../counter/store.ts";

/**
 * What runs inside Redis. A script runs alone, so reading, deciding and writing are one step, and each one writes at
 * most once, as its last act: an error that a script ends with means that nothing was changed.
 *
 * Lua counts in doubles, exact up to 2^53. A value is therefore checked as text before it becomes a number, sums are
 * formed only where they cannot pass 2^53−1, and results are written with `%.0f` (`tostring` would give 9.007e+15).
 *
 * Values are written by SET, which also takes away a time to live that somebody put on the key: a counter that expired
 * would start again.
 */
export interface Script {
  readonly lua: string;
  readonly sha1: string;
}

const readLast = `
local max = 9007199254740991
local value = redis.call('GET', KEYS[1])
local last = 0
if value then
  if #value > 16 or not (value == '0' or string.find(value, '^[1-9]%d*$')) or tonumber(value) > max then
    return {'unreadable', string.sub(value, 1, 100)}
  end
  last = tonumber(value)
end
`;

/**
 * Claims numbers for a batch, in order, each claim that does not fit being passed over, exactly as `allocate` shares them
 * out. The arguments are whether to create the counter (1 or 0) and the batch as pairs of `by` and how often in a row:
 * once a claim does not fit, equal ones right behind it do not fit either, so a run takes as many as fit. (The quotient of
 * two integers up to 2^53−1 never rounds up to an integer, so the floor is exact.)
 *
 * @returns `last` and the value before, `missing`, or `unreadable` and the value
 */
export const commitScript = createScript(`${readLast}
if not value and ARGV[1] == '0' then return {'missing'} end
local next = last
for at = 2, #ARGV, 2 do
  local by = tonumber(ARGV[at])
  next = next + by * math.min(tonumber(ARGV[at + 1]), math.floor((max - next) / by))
end
if next > last then redis.call('SET', KEYS[1], string.format('%.0f', next)) end
return {'last', string.format('%.0f', last)}
`);

/**
 * Sets the value. The arguments are the value and whether it may be lower than the one before (1 or 0).
 *
 * @returns `set`, `lower` and the value that stays, or `unreadable` and the value
 */
export const setScript = createScript(`${readLast}
if ARGV[2] == '0' and tonumber(ARGV[1]) < last then return {'lower', value} end
redis.call('SET', KEYS[1], ARGV[1])
return {'set'}
`);

/** A batch as the arguments that `commitScript` takes. */
export function commitArguments(claims: readonly Claim[], create: boolean): string[] {
  const runs: { by: number; times: number }[] = [];
  for (const { by } of claims) {
    const run = runs.at(-1);
    if (run?.by === by) run.times += 1;
    else runs.push({ by, times: 1 });
  }
  return [create ? "1" : "0", ...runs.flatMap(({ by, times }) => [String(by), String(times)])];
}

function createScript(lua: string): Script {
  return { lua, sha1: createHash("sha1").update(lua).digest("hex") };
}
