-- Data types: what a listener gets and what a message becomes on the wire.
--
--   scripts/run examples/data_types.lua
--   panini request types.json '{"numbers": [1, 2, 3]}'   → {"count":3,"sum":6}
--   panini request types.string 'grüße'                  → 5 characters: grüße
--   panini request types.bytes 'abc'                     → {"size":3,"base64":"YWJj"}

local app = panini.app{ service_name = "types" }

-- JSON is the default. The text is decoded when `msg.data` is first used, and never if it is not.
app.listen("types.json", function(msg)
    local sum = 0
    for _, number in ipairs(msg.data.numbers) do
        sum = sum + number
    end
    return { count = #msg.data.numbers, sum = sum }
end)

-- Text: checked to be UTF-8. A string that is returned goes out as it is, without quotes.
app.listen("types.string", { data_type = "string" }, function(msg)
    return utf8.len(msg.data) .. " characters: " .. msg.data
end)

-- Bytes: untouched, the cheapest way.
app.listen("types.bytes", { data_type = "bytes" }, function(msg)
    return { size = #msg.data, base64 = panini.base64.encode(msg.data) }
end)

-- Sending: the value decides, or `data_type` does.
app.listen("types.send", function(msg)
    app.publish("types.sent", { a = 1 })                          -- {"a":1}
    app.publish("types.sent", "plain")                            -- plain
    app.publish("types.sent", "quoted", { data_type = "json" })   -- "quoted"
    app.publish("types.sent", 42)                                 -- 42
    app.publish("types.sent", panini.null)                        -- null
    app.publish("types.sent", panini.array{})                     -- []
    app.publish("types.sent", nil)                                -- (empty)
    return { sent = 7 }
end)
