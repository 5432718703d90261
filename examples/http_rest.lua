-- A small REST service: a view per path, a validator for what is sent, errors as JSON.
--
--   scripts/run examples/http_rest.lua
--   curl -d '{"title": "buy tea"}' http://127.0.0.1:8080/tasks      → 201 {"done":false,"id":1,"title":"buy tea"}
--   curl http://127.0.0.1:8080/tasks?done=false                     → [{"done":false,"id":1,"title":"buy tea"}]
--   curl -X PATCH -d '{"done": true}' http://127.0.0.1:8080/tasks/1 → {"done":true,"id":1,"title":"buy tea"}
--   curl -X DELETE http://127.0.0.1:8080/tasks/1                    → 204
--   curl http://127.0.0.1:8080/tasks/1                              → 404 {"success":false,"code":404,...}

local app = panini.app{ service_name = "tasks", web_server = true }

local tasks, last = {}, 0

local new_task = panini.validator({
    title = { type = "string", min = 1, max = 200 },
    done = { type = "boolean", default = false },
}, { unknown = "refuse" })

local change = panini.validator({
    title = { type = "string", min = 1, max = 200, optional = true },
    done = { type = "boolean", optional = true },
}, { unknown = "refuse" })

local function find(req)
    local task = tasks[tonumber(req.params.id)]
    if not task then
        error{ code = 404, message = "there is no task " .. req.params.id }
    end
    return task
end

app.http.get("/tasks", function(req)
    local list = panini.array{}
    for id = 1, last do
        local task = tasks[id]
        if task and (not req.query.done or tostring(task.done) == req.query.done) then
            list[#list + 1] = task
        end
    end
    return list
end)

app.http.post("/tasks", { validator = new_task }, function(req)
    local task = req.json()
    last = last + 1
    task.id = last
    tasks[last] = task
    return panini.response{ status = 201, headers = { Location = "/tasks/" .. last }, json = task }
end)

app.http.view("/tasks/{id}", {
    get = function(req)
        return find(req)
    end,
    delete = function(req)
        tasks[find(req).id] = nil
    end,
})

app.http.patch("/tasks/{id}", { validator = change }, function(req)
    local task = find(req)
    for name, value in pairs(req.json()) do
        task[name] = value
    end
    return task
end)
