-- What the web server costs: a plain answer, and JSON decoded and encoded again. See measure.py.
local app = panini.app{ service_name = "bench", web_server = true, logger_required = false }

app.http.get("/hello", function(req)
    return "hello"
end)

app.listen("bench.ping", function(msg)
    return "pong"
end)

app.http.post("/echo", function(req)
    return req.json()
end)
