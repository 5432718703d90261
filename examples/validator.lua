-- Validators: a message that is not as it should be never reaches the handler.
--
--   scripts/run examples/validator.lua
--   panini request shop.order '{"customer": {"name": "Ada"}, "items": [{"sku": "tea-1", "count": 2}]}'
--       → {"accepted":true,"currency":"EUR","count":2}
--   panini request shop.order '{"customer": {}, "items": [{"sku": "?", "count": 0}]}'
--       → an error reply of code 422 with every violation and its path
--   panini request shop.schema                           → the JSON Schema of an order

local app = panini.app{ service_name = "shop" }

local customer = panini.validator{
    name = { type = "string", min = 1, max = 80 },
    email = { type = "string", optional = true, pattern = "[^@%s]+@[^@%s]+" },
}

local item = panini.validator({
    sku = { type = "string", pattern = "%l+%-%d+" },
    count = { type = "integer", min = 1, max = 100 },
}, { unknown = "refuse" })

local order = panini.validator{
    customer = { type = customer },                            -- nested
    items = { type = "array", items = { type = item }, min = 1, max = 50 },
    currency = { type = "string", enum = { "EUR", "USD" }, default = "EUR" },
    note = { type = "string", null = true, optional = true },
    tags = { type = "string", many = true, default = {} },
}

app.listen("shop.order", { validator = order }, function(msg)
    local count = 0
    for _, line in ipairs(msg.data.items) do
        count = count + line.count
    end
    return { accepted = true, currency = msg.data.currency, count = count }
end)

-- on_invalid answers in place of the 422.
app.listen("shop.try", {
    validator = order,
    on_invalid = function(msg, violations)
        return { accepted = false, first = violations[1].path, count = #violations }
    end,
}, function(msg)
    return { accepted = true }
end)

app.listen("shop.schema", function(msg)
    return order:json_schema()
end)
