-- Server-sent events: whatever is published on prices.* goes to every browser that looks.
--
--   scripts/run examples/http_events.lua
--   curl -N http://127.0.0.1:8080/events                 → an event for each price
--   panini publish prices.tea '{"price": 3}'

local app = panini.app{ service_name = "ticker", web_server = true }

-- The viewers of one worker: with --workers each has a table of its own, so each must hear every price.
local viewers = {}

app.listen("prices.{item}", { each_worker = true, reply = false }, function(msg)
    for viewer in pairs(viewers) do
        viewer[#viewer + 1] = { event = "price", data = { item = msg.params.item, price = msg.data.price } }
    end
end)

app.http.get("/events", function(req)
    return panini.response{
        events = function(send)
            local mine = {}
            viewers[mine] = true
            local open = send{ event = "hello", data = "watching" }
            while open do
                while open and #mine > 0 do
                    open = send(table.remove(mine, 1))
                end
                app.sleep(0.05)
                -- A client that has gone is noticed when something is sent: a line that browsers ignore.
                open = open and send{ event = "ping", data = "" }
            end
            viewers[mine] = nil
        end,
    }
end)
