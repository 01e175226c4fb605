import { createHash } from "node:crypto";
import { type Claim, maxValue } from "../../counter/store.ts";

/**
 * What runs inside Redis. A script runs alone, so reading, deciding and writing are one step. Whatever can be wrong is
 * looked at before the first write, and Redis itself refuses writes (memory, replicas, a failed disk) at the first one or
 * not at all: an error that a script ends with means that nothing was changed.
 *
 * Lua counts in doubles, exact up to 2^53. A value is therefore checked as text before it becomes a number, sums are
 * formed only where they cannot pass 2^53−1, and results are written with `%.0f` (`tostring` would give 9.007e+15).
 *
 * Values are written by SET, which also takes away a time to live that somebody put on the key: a counter that expired
 * would start again.
 *
 * Beside the counter stand, once it has keys or records, two Redis keys in its slot (`ownKeys`):
 * - `…:keys`, a hash: the number of each idempotency key;
 * - `…:records`, a sorted set: each record as text (`parseRecord`), its score the number.
 *
 * Both carry one time to live, a whole retention after the last record, so that a counter at rest forgets by itself. What
 * expires before that is the low end of the sorted set: each script that adds a record clears away some that are too old.
 * So there is no index to go stale, and nothing to do in the background. What is too old and still there is not seen.
 * Time is the server's, one clock for all instances.
 *
 * A lowering by force removes the keys and records above its value, 1,000 in each script, so that Redis serves others in
 * between. The first script sets the value, and as long as records are left, the hash says under the empty key (no claim
 * has that one) above which number they are gone. Nobody reads those any more, and a keyed batch has them all removed
 * before it begins: so no record of a later time is ever among them, and whoever dies between two slices leaves nothing
 * wrong. Batches without keys and records go on at once.
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

const readNow = `
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
`;

/** `parse` gives a record's number (as text), time and key (maybe empty), or nothing for any other text. */
const parseRecordText = `
local function parse(record)
  local number, at, key = string.match(record or '', '^([1-9]%d*)\\n(%d+)\\n([^\\n]*)\\n')
  return number, tonumber(at), key
end
`;

/** The number above which records are gone, while a lowering still removes them. */
const readLowering = `
local function lowering(keys)
  return tonumber(redis.call('HGET', keys, ''))
end
`;

/**
 * Removes records above a number, the largest first, and their keys. Tells whether any are left, and leaves a note of it.
 * A key that was taken anew after it expired leads to the larger number, and is removed with that one.
 */
const removeSlice = `
local function removeSlice(number)
  local to = string.format('%.0f', number)
  local found = redis.call('ZREVRANGEBYSCORE', KEYS[3], '+inf', '(' .. to, 'LIMIT', 0, 1000)
  local keys = {}
  for _, record in ipairs(found) do
    local _, _, key = parse(record)
    if key and key ~= '' then keys[#keys + 1] = key end
  end
  if #keys > 0 then redis.call('HDEL', KEYS[2], unpack(keys)) end
  if #found > 0 then redis.call('ZREMRANGEBYRANK', KEYS[3], -#found, -1) end
  if #found < 1000 then
    redis.call('HDEL', KEYS[2], '')
    return 'settled'
  end
  redis.call('HSET', KEYS[2], '', to)
  return 'lowering'
end
`;

/**
 * Claims numbers for a batch without keys and records, in order, each claim that does not fit being passed over, exactly
 * as `allocate` shares them out. The arguments are whether to create the counter (1 or 0) and the batch as triples of
 * `by`, `max` and how often in a row: once a claim does not fit, equal ones right behind it do not fit either, so a run
 * takes as many as fit. (The quotient of two integers up to 2^53−1 never rounds up to an integer, so the floor is exact.)
 *
 * @returns `last` and the value before, `missing`, or `unreadable` and the value
 */
export const commitScript = createScript(`${readLast}
if not value and ARGV[1] == '0' then return {'missing'} end
local next = last
for at = 2, #ARGV, 3 do
  local by = tonumber(ARGV[at])
  local fitting = math.floor((tonumber(ARGV[at + 1]) - next) / by)
  next = next + by * math.max(0, math.min(tonumber(ARGV[at + 2]), fitting))
end
if next > last then redis.call('SET', KEYS[1], string.format('%.0f', next)) end
return {'last', string.format('%.0f', last)}
`);

/**
 * Claims numbers for a batch in which some claims have a key or metadata. The arguments are whether to create the counter
 * (1 or 0), the retention in milliseconds, whether a batch of replays has to write (1 or 0: WAIT waits for writes only),
 * and for each claim `by`, `max`, key and metadata (empty where it has none).
 *
 * A key without its record, or a record above the last number, is the work of another hand: the counter is unreadable.
 *
 * The order of the writes is the safe one should Redis fail at all between them: a number that is skipped at worst.
 *
 * @returns `last`, the value before, the server's time and the records of the keys that are known; `missing`;
 *   `unreadable` and the value; `lowering` when `settleScript` has to come first; or `broken` and what is wrong
 */
export const keyedCommitScript = createScript(`${readLast}${readNow}${parseRecordText}${readLowering}
if not value and ARGV[1] == '0' then return {'missing'} end
if lowering(KEYS[2]) then return {'lowering'} end
local retention = tonumber(ARGV[2])
local top = redis.call('ZREVRANGE', KEYS[3], 0, 0, 'WITHSCORES')
if top[1] and tonumber(top[2]) > last then return {'broken', 'a record of the number ' .. top[2]} end

local reply = {'last', string.format('%.0f', last), string.format('%.0f', now)}
local isSettled = {}
local taken = {}
local next = last
for at = 4, #ARGV, 4 do
  local by, key, metadata = tonumber(ARGV[at]), ARGV[at + 2], ARGV[at + 3]
  if not isSettled[key] then
    local known = key ~= '' and redis.call('HGET', KEYS[2], key)
    if known then
      local record
      if #known <= 16 and string.find(known, '^[1-9]%d*$') then
        record = redis.call('ZRANGEBYSCORE', KEYS[3], known, known)[1]
      end
      local number, time, itsKey = parse(record)
      if number ~= known or itsKey ~= key then return {'broken', 'a key without its record: ' .. key} end
      if retention == 0 or time + retention > now then
        reply[#reply + 1] = record
        isSettled[key] = true
      end
    end
    if not isSettled[key] and by <= tonumber(ARGV[at + 1]) - next then
      next = next + by
      if key ~= '' or metadata ~= '' then taken[#taken + 1] = {string.format('%.0f', next), key, metadata} end
      if key ~= '' then isSettled[key] = true end
    end
  end
end

if next > last or ARGV[3] == '1' then redis.call('SET', KEYS[1], string.format('%.0f', next)) end
if #taken == 0 then return reply end

for _, claim in ipairs(taken) do
  local number, key, metadata = unpack(claim)
  redis.call('ZADD', KEYS[3], number, number .. '\\n' .. reply[3] .. '\\n' .. key .. '\\n' .. metadata)
  if key ~= '' then redis.call('HSET', KEYS[2], key, number) end
end
if retention == 0 then
  redis.call('PERSIST', KEYS[2])
  redis.call('PERSIST', KEYS[3])
  return reply
end
local expiry = string.format('%.0f', now + retention)
redis.call('PEXPIREAT', KEYS[2], expiry)
redis.call('PEXPIREAT', KEYS[3], expiry)

local function isOld(record)
  local number, time = parse(record)
  return number and time + retention <= now
end
if not isOld(redis.call('ZRANGE', KEYS[3], 0, 0)[1]) then return reply end
local count = 0
-- Some more than were added, so that the old ones run out.
for _, record in ipairs(redis.call('ZRANGE', KEYS[3], 0, #taken + 99)) do
  if not isOld(record) then break end
  local number, _, key = parse(record)
  if key ~= '' and redis.call('HGET', KEYS[2], key) == number then redis.call('HDEL', KEYS[2], key) end
  count = count + 1
end
redis.call('ZREMRANGEBYRANK', KEYS[3], 0, count - 1)
return reply
`);

/**
 * Sets the value. The arguments are the value and whether it may be lower than the one before (1 or 0). With force also
 * the keys and records above it are removed, where they are named.
 *
 * @returns `settled`; `lowering` when it is for `settleScript` to remove the rest; `lower` and the value that stays; or
 *   `unreadable` and the value
 */
export const setScript = createScript(`${readLast}${parseRecordText}${readLowering}${removeSlice}
local state = 'settled'
if ARGV[2] == '0' and tonumber(ARGV[1]) < last then return {'lower', value} end
if ARGV[2] == '1' and KEYS[2] then
  -- Fails, before anything is written, where the first is no hash; and so does the next with what is no sorted set.
  state = removeSlice(math.min(tonumber(ARGV[1]), lowering(KEYS[2]) or max))
end
redis.call('SET', KEYS[1], ARGV[1])
return {state}
`);

/**
 * Removes the next records that a lowering left behind.
 *
 * @returns `settled`, or `lowering` when there are more
 */
export const settleScript = createScript(`${parseRecordText}${readLowering}${removeSlice}
local to = lowering(KEYS[2])
return {to and removeSlice(to) or 'settled'}
`);

/**
 * Reads records, the largest number first. The keys are those of the hash and of the sorted set; the arguments the bounds
 * of the number, as ZREVRANGEBYSCORE takes them, how many at most, and a key that the record has to have (or empty).
 *
 * @returns the server's time and the records, old ones too
 */
export const readScript = createScript(`${readNow}${readLowering}
local upper, lower = ARGV[1], ARGV[2]
local reply = {string.format('%.0f', now)}
if ARGV[4] ~= '' then
  upper = redis.call('HGET', KEYS[1], ARGV[4])
  if not upper then return reply end
  lower = upper
end
local to = lowering(KEYS[1])
if to and (upper == '+inf' or tonumber((string.gsub(upper, '^%(', ''))) > to) then upper = string.format('%.0f', to) end
for _, record in ipairs(redis.call('ZREVRANGEBYSCORE', KEYS[2], upper, lower, 'LIMIT', 0, ARGV[3])) do
  reply[#reply + 1] = record
end
return reply
`);

/** A batch as the arguments that `commitScript` takes. */
export function commitArguments(claims: readonly Claim[], create: boolean): string[] {
  const runs: { by: number; max: number; times: number }[] = [];
  for (const { by, max = maxValue } of claims) {
    const run = runs.at(-1);
    if (run?.by === by && run.max === max) run.times += 1;
    else runs.push({ by, max, times: 1 });
  }
  return [
    create ? "1" : "0",
    ...runs.flatMap(({ by, max, times }) => [String(by), String(max), String(times)]),
  ];
}

/** A batch as the arguments that `keyedCommitScript` takes. */
export function keyedCommitArguments(
  claims: readonly Claim[],
  { create, retentionMs, confirms }: { create: boolean; retentionMs: number; confirms: boolean },
): string[] {
  return [
    create ? "1" : "0",
    String(retentionMs),
    confirms ? "1" : "0",
    ...claims.flatMap(({ by, max = maxValue, key = "", metadata }) => [
      String(by),
      String(max),
      key,
      metadata === undefined ? "" : JSON.stringify(metadata),
    ]),
  ];
}

function createScript(lua: string): Script {
  return { lua, sha1: createHash("sha1").update(lua).digest("hex") };
}
