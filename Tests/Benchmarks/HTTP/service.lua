-- What the web server costs: a plain answer, and JSON decoded and encoded again. See measure.py.
local app = panini.app{ service_name = "bench", web_server = true, logger_required = false }

app.http.get("/hello", function(req)
    return "hello"
end)

app.http.post("/echo", function(req)
    return req.json()
end)
