-- POSTs to one counter, each with a key of its own, or all with one key; at the end one line of JSON, as wrk.lua.
-- wrk -s wrk-keys.lua URL -- COUNTER KEY     (KEY: new, or the key that all have)

dofile(debug.getinfo(1, "S").source:match("@(.*)wrk%-keys%.lua$") .. "wrk.lua")

function init(args)
  local path, key = "/" .. args[1], args[2]
  local run, count = os.time() .. "-" .. math.floor(os.clock() * 1e6), 0
  request = function()
    count = count + 1
    return wrk.format("POST", path .. "?key=" .. (key == "new" and run .. "-" .. count or key))
  end
end
