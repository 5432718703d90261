-- Dynamic subscriptions: a service that starts and ends listening while it runs.
--
--   scripts/run examples/dynamic_subscriptions.lua
--   panini request rooms.open  '{"room": "lobby"}'       → {"opened":"lobby"}
--   panini request rooms.lobby '"hi"'                    → {"room":"lobby","count":1}
--   panini request rooms.close '{"room": "lobby"}'       → {"closed":"lobby","count":1}

local app = panini.app{ service_name = "rooms" }

-- One table per open room: its listener and what it has counted.
local rooms = {}

app.listen("rooms.open", function(msg)
    local name = msg.data.room
    if rooms[name] then
        return nil, { code = 409, message = "room " .. name .. " is open already" }
    end
    local room = { count = 0 }
    room.listener = app.listen("rooms." .. name, function()
        room.count = room.count + 1
        return { room = name, count = room.count }
    end)
    rooms[name] = room
    return { opened = name }
end)

app.listen("rooms.close", function(msg)
    local name = msg.data.room
    local room = rooms[name]
    if not room then
        return nil, { code = 404, message = "no room " .. name }
    end
    room.listener.unsubscribe()
    rooms[name] = nil
    return { closed = name, count = room.count }
end)
