-- Streams: a task that publishes once, a timer that publishes for ever, and a listener that takes both.
--
--   scripts/run examples/streams.lua
--   panini subscribe "streams.total" --count 5

local app = panini.app{ service_name = "streams" }

local count, sum = 0, 0

-- Runs once, when every listener is in place: what it publishes is surely heard.
app.task(function()
    for number = 1, 10 do
        app.publish("streams.numbers", { source = "task", value = number })
    end
end)

-- Runs at once and then every half second, at a fixed rate.
app.timer_task(0.5, { name = "pulse" }, function()
    app.publish("streams.numbers", { source = "timer", value = 1 })
end)

-- No value is returned, so nothing is answered: this is a stream, not a request.
app.listen("streams.numbers", function(msg)
    count, sum = count + 1, sum + msg.data.value
    app.publish("streams.total", { last = msg.data.source, count = count, sum = sum })
end)
