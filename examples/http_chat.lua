-- A chat room in the browser. What somebody says goes through NATS, so that every instance of this service shares the room.
--
--   scripts/run examples/http_chat.lua            → open http://127.0.0.1:8080/ in two windows
--   panini run examples/http_chat.lua --web-port 8081 --server ...   a second instance: the same room
--   panini publish chat.lobby '{"name": "shell", "text": "hello"}'   everybody reads it

local app = panini.app{ service_name = "chat", web_server = true }

-- Who is connected to this worker: with --workers each has a table of its own.
local people = {}

-- Without waiting, so that one slow reader holds nobody up; who is far behind has to come again.
local function tell(ws, what)
    local sent, err = ws.send(panini.json.encode(what), { wait = false })
    if not sent and err.code == "too_slow" then
        ws.close(1008, "too slow")
    end
end

-- Whatever is said anywhere comes through here, on every worker of every instance, what was said on this one, too.
app.listen("chat.{room}", { each_worker = true, reply = false }, function(msg)
    for _, person in pairs(people) do
        if person.room == msg.params.room then
            tell(person.ws, { name = msg.data.name, text = msg.data.text })
        end
    end
end)

local function enter(ws, req)
    people[ws.id] = { ws = ws, room = req.params.room, name = req.query.name or "somebody" }
end

app.http.websocket("/rooms/{room}", { max_message = "4KB", max_unsent = "256KB" }, {
    open = function(ws, req)
        enter(ws, req)
        tell(ws, { name = "chat", text = "welcome to " .. req.params.room })
    end,

    message = function(ws, text)
        local person = people[ws.id]
        app.publish("chat." .. person.room, { name = person.name, text = text })
    end,

    close = function(ws)
        people[ws.id] = nil
    end,

    -- After a reload of this file: the connections are still there, the table `people` is new.
    reload = enter,
})

app.http.get("/", function()
    return panini.response{ file = "http_chat/index.html" }
end)
