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
    -- A name that somebody sends: ">" would be every room, and "open" this listener.
    if type(name) ~= "string" or not name:find("^[%w_-]+$") or name == "open" or name == "close" then
        return nil, { code = 400, message = "a room has a name of letters, digits, _ and -, other than open and close" }
    end
    if rooms[name] then
        return nil, { code = 409, message = "room " .. name .. " is open already" }
    end
    local room = { count = 0 }
    rooms[name] = room -- before listen waits: two may ask at once
    local listener, err = app.listen("rooms." .. name, function()
        room.count = room.count + 1
        return { room = name, count = room.count }
    end)
    if not listener then
        rooms[name] = nil
        return nil, err
    end
    room.listener = listener
    return { opened = name }
end)

app.listen("rooms.close", function(msg)
    local name = msg.data.room
    local room = name and rooms[name]
    if not room or not room.listener then
        return nil, { code = 404, message = "no room " .. tostring(name) }
    end
    room.listener.unsubscribe()
    rooms[name] = nil
    return { closed = name, count = room.count }
end)
