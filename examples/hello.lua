-- A whole service: it answers requests on `hello`.
--
--   scripts/run examples/hello.lua
--   panini request hello '{"name": "Ada"}'        → {"message":"Hello, Ada!"}

local app = panini.app{ service_name = "hello" }

app.listen("hello", function(msg)
    local name = msg.data and msg.data.name or "world"
    return { message = "Hello, " .. name .. "!" }
end)
