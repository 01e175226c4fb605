-- One POST (or GET) after the other, to one counter or to many at random; at the end one line of JSON.
-- wrk -s wrk.lua URL -- METHOD PREFIX COUNTERS

local id = "%s/%08x-0000-4000-8000-000000000000"

function init(args)
  local method, prefix, counters = args[1], args[2], tonumber(args[3])
  wrk.method = method
  if counters == 1 then
    -- Without a global "request", wrk builds the request once and sends it for ever, which costs it least.
    wrk.path = id:format(prefix, 0)
  else
    local requests = {}
    for n = 1, counters do
      requests[n] = wrk.format(method, id:format(prefix, n - 1))
    end
    math.randomseed(os.time())
    request = function()
      return requests[math.random(counters)]
    end
  end
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests":%d,"seconds":%.6f,"p50Ms":%.3f,"p99Ms":%.3f,"failed":%d}\n',
    summary.requests,
    summary.duration / 1e6,
    latency:percentile(50) / 1e3,
    latency:percentile(99) / 1e3,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout
  ))
end
