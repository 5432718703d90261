-- The benchmark's service as a Panini script. The same subjects as service.go and original.py, written the way a user
-- of each would write them: see docs/performance.md for what each subject does.
local panini = require "panini"

local app = panini.app { service_name = "bench", logger_required = false }

local count = 0

local sample = {
  key1 = "value1",
  key2 = 2,
  key3 = 3.0,
  key4 = { 1, 2, 3, 4 },
  key5 = { ["1"] = 1, ["2"] = 2, ["3"] = 3, ["4"] = 4, ["5"] = 5 },
  key6 = { subkey1 = "1", subkey2 = 2, ["3"] = 3, ["4"] = 4, ["5"] = 5 },
  key7 = panini.null,
}
local bytes = ("x"):rep(16)

app.listen("bench.echo", function(msg)
  return msg.data
end)

app.listen("bench.raw", { data_type = "bytes" }, function(msg)
  return msg.data
end)

-- Data is decoded on first use, so the JSON sink has to ask for it.
app.listen("bench.sink.json", function(msg)
  local data = msg.data
  if data then count = count + 1 end
end)

app.listen("bench.sink.raw", { data_type = "bytes" }, function()
  count = count + 1
end)

app.listen("bench.count", function()
  return { count = count }
end)

app.listen("bench.reset", function()
  count = 0
  return { count = count }
end)

app.listen("bench.emit", function(msg)
  local message = msg.data.mode == "json" and sample or bytes
  for _ = 1, msg.data.n do
    assert(app.publish("bench.out", message))
  end
  return { emitted = msg.data.n }
end)
