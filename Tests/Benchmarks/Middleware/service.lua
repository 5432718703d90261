-- What middlewares cost a request. LAYERS says what stands around the handler; see measure.py.
local layers = panini.env("LAYERS", "none")
local app = panini.app{ service_name = "bench", logger_required = false }

local function plain()
    return { listen_request = function(msg, callback) return callback(msg) end }
end

local function sending()
    return { send_publish = function(subject, message, publish, opts) return publish(subject, message, opts) end }
end

if layers == "lua" then
    app.add_middleware(plain)
elseif layers == "lua4" then
    for _ = 1, 4 do app.add_middleware(plain) end
elseif layers == "debug" then
    app.add_middleware(panini.middleware.debug{ sends = false })
elseif layers == "error" then
    app.add_middleware(panini.middleware.error{ sends = false })
elseif layers == "send" then
    app.add_middleware(sending)
elseif layers == "handler" then
    -- One more handler call for each request.
    app.listen("bench.raw", { data_type = "bytes", reply = false }, function(msg) return msg.data end)
end

app.listen("bench.raw", { data_type = "bytes" }, function(msg)
    return msg.data
end)

app.listen("bench.emit", function(msg)
    for _ = 1, msg.data.n do
        assert(app.publish("bench.out", "0123456789abcdef"))
    end
    return { emitted = msg.data.n }
end)
