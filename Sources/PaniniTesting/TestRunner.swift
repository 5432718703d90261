// Owns: the script that runs test files: what `test` and `t` are. Lua, as it runs like any service's script.

enum TestRunner {
    static let source = #"""
        local host = require "panini.test"
        local app = panini.app{
            service_name = "panini-test", services = false, logger_required = false, handler_timeout = 86400,
            shutdown_timeout = 1,
        }
        local tests = {}

        function test(name, fn)
            if type(name) ~= "string" or name == "" then
                error("test: the name must be a text, as in test(\"greets\", function(t) ... end)", 2)
            end
            if type(fn) ~= "function" then
                error("test: \"" .. name .. "\" has no function", 2)
            end
            for _, other in ipairs(tests) do
                if other.name == name then error("test: there are two tests \"" .. name .. "\"", 2) end
            end
            tests[#tests + 1] = { name = name, run = fn }
        end

        -- What a value looks like in a message: short, in a fixed order.
        local function show(value, depth)
            depth = depth or 0
            if type(value) == "string" then return string.format("%q", value) end
            if type(value) ~= "table" then return tostring(value) end
            if depth > 3 then return "{...}" end
            local parts, seen = {}, {}
            for position, item in ipairs(value) do
                parts[#parts + 1] = show(item, depth + 1)
                seen[position] = true
            end
            local keys = {}
            for key in pairs(value) do
                if not seen[key] then keys[#keys + 1] = key end
            end
            table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
            for _, key in ipairs(keys) do
                local name = type(key) == "string" and key:find("^[%a_][%w_]*$") and key or "[" .. show(key, depth + 1) .. "]"
                parts[#parts + 1] = name .. " = " .. show(value[key], depth + 1)
            end
            return "{ " .. table.concat(parts, ", ") .. " }"
        end

        -- The first place where two values differ, or nil.
        local function difference(actual, expected, path, seen)
            if actual == expected then return nil end
            if type(actual) ~= "table" or type(expected) ~= "table" then
                return path, actual, expected
            end
            if seen[actual] == expected then return nil end
            seen[actual] = expected
            local keys = {}
            for key in pairs(expected) do keys[#keys + 1] = key end
            for key in pairs(actual) do
                if expected[key] == nil then keys[#keys + 1] = key end
            end
            table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
            for _, key in ipairs(keys) do
                local step = type(key) == "string" and "." .. key or "[" .. tostring(key) .. "]"
                local where, one, other = difference(actual[key], expected[key], path .. step, seen)
                if where then return where, one, other end
            end
        end

        local skip = {}

        -- What one test gets. `ends` is what is to be undone after it.
        local function toolkit(ends)
            local t = {}

            t.request, t.publish, t.sleep, t.log = app.request, app.publish_sync, app.sleep, app.logger

            function t.listen(subject, options, handler)
                local handle, err
                if handler == nil then
                    handle, err = app.listen(subject, options)
                else
                    handle, err = app.listen(subject, options, handler)
                end
                if not handle then error(err, 2) end
                ends[#ends + 1] = handle.unsubscribe
                return handle
            end

            function t.subscribe(subject)
                local messages, first = {}, 1
                t.listen(subject, { reply = false }, function(msg) messages[#messages + 1] = msg end)
                local box = {}
                function box.next(timeout)
                    local deadline = panini.monotonic() + (timeout or 5)
                    while not messages[first] do
                        if panini.monotonic() >= deadline then
                            error("nothing came on " .. subject .. " within " .. (timeout or 5) .. " s", 2)
                        end
                        app.sleep(0.001)
                    end
                    first = first + 1
                    return messages[first - 1]
                end
                function box.count()
                    return #messages - first + 1
                end
                return box
            end

            function t.equal(actual, expected, what)
                local where, one, other = difference(actual, expected, "", {})
                if not where then return actual end
                where = where:gsub("^%.", "")
                local place = where ~= "" and where .. ": " or ""
                error((what and what .. ": " or "") .. place .. "expected " .. show(other) .. ", got " .. show(one), 2)
            end

            function t.ok(value, what)
                if value then return value end
                error((what and what .. ": " or "") .. "expected something true, got " .. show(value), 2)
            end

            function t.matches(text, pattern, what)
                if type(text) == "string" and text:find(pattern) then return text end
                error((what and what .. ": " or "") .. show(text) .. " does not match " .. show(pattern), 2)
            end

            function t.raises(fn, pattern)
                local ok, err = pcall(fn)
                if ok then error("expected an error, and there was none", 2) end
                local text = type(err) == "table" and tostring(err.message or err) or tostring(err)
                if pattern and not text:find(pattern) then
                    error("expected an error that matches " .. show(pattern) .. ", got " .. show(text), 2)
                end
                return err
            end

            function t.eventually(fn, timeout)
                local deadline = panini.monotonic() + (timeout or 5)
                while true do
                    local value = fn()
                    if value then return value end
                    if panini.monotonic() >= deadline then
                        error("did not become true within " .. (timeout or 5) .. " s", 2)
                    end
                    app.sleep(0.005)
                end
            end

            function t.skip(reason)
                error({ [skip] = tostring(reason or "skipped") }, 0)
            end

            return t
        end

        local function text_of(err)
            if type(err) == "table" and err.message then
                local code = err.code and " (" .. tostring(err.code) .. ")" or ""
                return tostring(err.message) .. code
            end
            return tostring(err)
        end

        local function handler(err)
            if type(err) == "table" then return err end
            return tostring(err)
        end

        -- Runs one test: its failure, or nil; why it was skipped, or nil.
        local function run(case)
            local ends, done, failure, skipped = {}, false, nil, nil
            app.spawn(function()
                local ok, err = xpcall(case.run, handler, toolkit(ends))
                if not ok then
                    if type(err) == "table" and err[skip] then skipped = err[skip] else failure = text_of(err) end
                end
                done = true
            end)
            local deadline, pause = panini.monotonic() + host.timeout, 0.0005
            while not done do
                app.sleep(pause)
                pause = math.min(pause * 1.5, 0.01)
                if not done and panini.monotonic() >= deadline then
                    failure = "did not end within " .. host.timeout .. " s"
                    break
                end
            end
            for position = #ends, 1, -1 do ends[position]() end
            return failure, skipped
        end

        local chunk, problem = load(host.source, "@" .. host.path)
        if not chunk then error(problem, 0) end
        chunk()

        app.task(function()
            for _, case in ipairs(tests) do
                if host.filter == "" or case.name:find(host.filter, 1, true) then
                    local begun = panini.monotonic()
                    local failure, skipped = run(case)
                    host.report(case.name, failure, skipped, panini.monotonic() - begun)
                end
            end
            host.finish()
        end)
        """#
}
