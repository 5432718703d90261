-- Reply to a third subject: the sender does not wait; the answer goes to another listener. The responder
-- is an ordinary one and does not know.
--
--   scripts/run examples/reply_to_third.lua
--   panini subscribe "pipeline.archived" --count 1 &
--   panini publish pipeline.submit '{"text": "hello"}'

local app = panini.app{ service_name = "pipeline" }

-- The first hands the work on and names where the answer shall go.
app.listen("pipeline.submit", function(msg)
    app.publish("pipeline.upper", { id = panini.uuid(), text = msg.data.text }, { reply_to = "pipeline.done" })
end)

-- The second answers, as it would answer any request.
app.listen("pipeline.upper", function(msg)
    return { id = msg.data.id, text = msg.data.text:upper() }
end)

-- The third gets the answer. The id in the message tells which submission it belongs to.
app.listen("pipeline.done", function(msg)
    app.publish("pipeline.archived", { id = msg.data.id, text = msg.data.text, archived = true })
end)
