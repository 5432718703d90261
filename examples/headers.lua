-- Headers, both ways: of requests, of replies, of what is published.
--
--   scripts/run examples/headers.lua
--   panini request headers.client                        → {"answer":"HELLO","language":"en","requests":1,"all":["a","b"]}

local app = panini.app{ service_name = "headers" }

local requests = 0

app.listen("headers.server", function(msg)
    -- By name, as they were written; all() has the repeated ones.
    local language = msg.headers["Language"] or "en"
    requests = requests + 1
    -- A reply with headers is given by respond.
    msg.respond({ answer = language == "en" and "HELLO" or "HALLO", all = msg.headers:all("Tag") }, {
        headers = { Language = language, ["Request-Count"] = requests },
    })
end)

app.listen("headers.client", function(msg)
    -- The third result is the reply as a message.
    local data, err, reply = app.request("headers.server", {}, {
        headers = { Language = "en", Tag = { "a", "b" } },
    })
    if not data then
        return nil, err
    end
    app.publish("headers.seen", data.answer, { headers = { Language = reply.headers["Language"] } })
    return {
        answer = data.answer,
        all = data.all,
        language = reply.headers["Language"],
        requests = tonumber(reply.headers["Request-Count"]),
    }
end)
