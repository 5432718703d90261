-- Middlewares: a chain between the broker and the handlers, and between the service and what it sends.
--
--   scripts/run examples/middlewares.lua
--   panini request shop.price '{"item": "tea"}'          → an error reply of code 401: who is asking?
--   panini request shop.price '{"item": "tea", "user": "ada"}'
--       → {"item":"tea","price":3,"steps":["count","access"]}
--   panini request shop.stock '{"item": "tea", "user": "ada"}'
--       → {"item":"tea","left":7}, the second time {"item":"tea","left":7,"cached":true}
--   panini request shop.counts                           → how often each subject was asked

local app = panini.app{ service_name = "shop" }

-- Sees every request first and every answer last: it is added last.
local counts = {}
local function counting()
    return {
        listen_request = function(msg, callback)
            counts[msg.subject] = (counts[msg.subject] or 0) + 1
            msg.context.steps = { "count" }
            return callback(msg)
        end,
    }
end

-- Refuses what comes from nobody: the handler does not run.
local function access(field)
    return {
        listen_request = function(msg, callback)
            if msg.subject ~= "shop.counts" and not (msg.data and msg.data[field]) then
                return nil, { code = 401, message = "who is asking?" }
            end
            table.insert(msg.context.steps, "access")
            return callback(msg)
        end,
    }
end

-- Puts a header on everything that goes out.
local signing = {
    send_any = function(subject, message, send, opts)
        opts.headers = opts.headers or {}
        opts.headers["X-Service"] = "shop"
        return send(subject, message, opts)
    end,
}

app.add_middleware(signing)
app.add_middleware(access, "user")
app.add_middleware(counting)

app.listen("shop.price", function(msg)
    return { item = msg.data.item, price = 3, steps = msg.context.steps }
end)

-- Of one listener only, inside those of the app: answers again what was answered before.
local answers = {}
local caching = {
    listen_request = function(msg, callback)
        local known = answers[msg.data.item]
        if known then
            return { item = known.item, left = known.left, cached = true }
        end
        local reply, err = callback(msg)
        if reply then
            answers[msg.data.item] = reply
        end
        return reply, err
    end,
}

app.listen("shop.stock", { middlewares = { caching } }, function(msg)
    -- Waiting is fine on every level.
    local left = assert(app.request("store.count", { item = msg.data.item, user = "shop" }))
    return { item = msg.data.item, left = left }
end)

app.listen("store.count", function(msg)
    return msg.headers["X-Service"] == "shop" and 7 or 0
end)

app.listen("shop.counts", function(msg)
    return counts
end)
