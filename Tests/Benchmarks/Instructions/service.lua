-- What instructions.py counts the cost of: one path for each of its kinds.
local app = panini.app{ service_name = "instructions", web_server = true, web_access_log = false }

app.listen("i.raw", { data_type = "bytes" }, function() end)
app.listen("i.json", function(msg) local key = msg.data.key1 end)
app.listen("i.raw.request", { data_type = "bytes" }, function(msg) return msg.data end)
app.listen("i.json.request", function(msg) return msg.data end)
app.http.get("/hello", function() return "hello" end)
