-- HTTP beside NATS, in one service.
--
--   scripts/run examples/http_hello.lua
--   curl http://127.0.0.1:8080/hello/ada                → {"hello":"ada","asked":1}
--   panini request hello.count                           → {"asked":1}

local app = panini.app{ service_name = "hello", web_server = true }

local asked = 0

app.http.get("/hello/{name}", function(req)
    asked = asked + 1
    app.publish("hello.asked", { name = req.params.name })
    return { hello = req.params.name, asked = asked }
end)

app.listen("hello.count", function(msg)
    return { asked = asked }
end)
