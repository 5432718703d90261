-- Getting from other servers, here from this service itself.
--
--   scripts/run examples/http_fetch.lua
--   curl http://127.0.0.1:8080/prices                    → {"prices":{"cup":4.5,"tea":2.5},"missing":["gold"]}
--   curl http://127.0.0.1:8080/report                     → {"lines":1000,"bytes":12000}
--   curl http://127.0.0.1:8080/unreachable                → {"code":"connect"}

local app = panini.app{ service_name = "shopper", web_server = true }

-- ---- what is fetched

local prices = { tea = 2.5, cup = 4.5 }

app.http.get("/price/{name}", function(req)
    local price = prices[req.params.name]
    if not price then return nil, { code = 404, message = "no price for " .. req.params.name } end
    return { price = price }
end)

app.http.get("/lines", function()
    return panini.response{
        headers = { ["content-type"] = "text/plain" },
        stream = function(write)
            for line = 1, 1000 do assert(write(("line %6d\n"):format(line))) end
        end,
    }
end)

-- ---- fetching

local function here(req)
    return "http://" .. req.headers.host
end

-- Several at once: each waits in its own function.
app.http.get("/prices", function(req)
    local names = { "tea", "cup", "gold" }
    local calls = {}
    for position, name in ipairs(names) do
        calls[position] = function()
            return app.http.fetch(here(req) .. "/price/" .. name, { timeout = 2 })
        end
    end
    local found, missing = {}, panini.array{}
    for position, response in ipairs(app.wait_all(calls)) do
        if response.status == 200 then
            found[names[position]] = response.json().price
        else
            missing[#missing + 1] = names[position]
        end
    end
    return { prices = found, missing = missing }
end)

-- A download of any size: the server sends as fast as the function takes it.
app.http.get("/report", function(req)
    local lines, bytes = 0, 0
    assert(app.http.fetch(here(req) .. "/lines", {
        stream = function(piece)
            bytes = bytes + #piece
            lines = lines + select(2, piece:gsub("\n", ""))
        end,
    }))
    return { lines = lines, bytes = bytes }
end)

-- What goes wrong comes back as an error with a code.
app.http.get("/unreachable", function()
    local response, err = app.http.fetch("http://127.0.0.1:1/")
    if not response then return { code = err.code } end
    return { code = "none" }
end)
