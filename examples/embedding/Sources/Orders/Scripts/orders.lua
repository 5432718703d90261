-- orders.lua: the rules of the shop. The store is a module of the Swift program around it.
local store = require "store"

local app = panini.app{ service_name = "orders", version = "1.0.0", allocation_queue_group = "orders" }

local item = panini.validator{ price = { type = "integer", min = 0 }, count = { type = "integer", min = 1 } }

local order = panini.validator{
    id = { type = "integer", min = 1 },
    customer = { type = "string", min = 1 },
    items = { type = "array", items = { type = item }, min = 1 },
}

app.listen("orders.new", { validator = order }, function(msg)
    local total = 0
    for _, item in ipairs(msg.data.items) do
        total = total + item.price * item.count
    end
    -- Every tenth euro is on the house.
    total = total - total // 1000 * 100
    local stored, err = store.add{ id = msg.data.id, customer = msg.data.customer, total = total, state = "new" }
    if not stored then
        return nil, err
    end
    app.publish("orders.events.new", { id = msg.data.id, total = total })
    return { id = msg.data.id, total = total }
end)

app.listen("orders.get.{id}", function(msg)
    local found = store.find(math.tointeger(msg.params.id) or 0)
    if not found then
        return nil, { code = 404, message = "no order " .. msg.params.id }
    end
    return found
end)

app.listen("orders.of.{customer}", function(msg)
    return store.of(msg.params.customer)
end)

app.listen("orders.pay.{id}", function(msg)
    if not store.move(math.tointeger(msg.params.id) or 0, "new", "paid") then
        return nil, { code = 409, message = "order " .. msg.params.id .. " is not open" }
    end
    return { paid = true }
end)
