-- Request and response: one handler asks another and waits for the answer. Only this one message waits;
-- everything else goes on meanwhile.
--
--   scripts/run examples/request_response.lua
--   panini request orders.total '{"items": [{"sku": "tea", "count": 2}, {"sku": "cup", "count": 1}]}'
--                                                 → {"total":17.5}
--   panini request orders.total '{"items": [{"sku": "gold", "count": 1}]}'
--                                                 → error 404: no price for gold

local app = panini.app{ service_name = "orders" }

local prices = { tea = 4.5, cup = 8.5 }

-- The one who knows. An error with a code goes out exactly as it is.
app.listen("prices.get", function(msg)
    local price = prices[msg.data.sku]
    if not price then
        return nil, { code = 404, message = "no price for " .. tostring(msg.data.sku) }
    end
    return { price = price }
end)

-- The one who asks. `request` gives the data, or nil and an error that can be passed on as it is.
app.listen("orders.total", function(msg)
    local total = 0
    for _, item in ipairs(msg.data.items) do
        local answer, err = app.request("prices.get", { sku = item.sku }, { timeout = 2 })
        if not answer then
            return nil, err
        end
        total = total + answer.price * item.count
    end
    return { total = total }
end)
