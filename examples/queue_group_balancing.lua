-- Queue groups: start this file as often as you like, on as many machines as you like; each message goes to
-- one of them. NATS does the balancing.
--
--   panini run examples/queue_group_balancing.lua &
--   panini run examples/queue_group_balancing.lua &
--   panini request work.square '{"n": 12}'               → {"n":144,"by":"…"}

local app = panini.app{
    service_name = "workers",
    allocation_queue_group = "workers",     -- the group of every listener of this service
}

local me = panini.uuid()
local done = 0

-- One of the group gets each message.
app.listen("work.square", function(msg)
    done = done + 1
    return { n = msg.data.n * msg.data.n, by = me }
end)

-- Every worker hears this one: `queue = false` leaves the group.
app.listen("work.report", { queue = false }, function()
    app.publish("work.reports", { by = me, done = done })
end)
