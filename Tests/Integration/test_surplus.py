"""What a script says beyond what a function takes, and where nobody will ever see it, is refused."""

import re
import urllib.request

import pytest

from harness import ROOT, free_port
from test_mistakes import refused

# Every function of the tables, from the definitions that the program itself prints: name → how many arguments it takes.
DEFINITIONS = (ROOT / "docs" / "panini.d.lua").read_text(encoding="utf-8")
TABLES = {"App": "app", "Shared": "app.shared", "HTTP": "app.http"}
# These want more than one argument to go wrong: what follows a function that makes the middleware is for that.
OTHERWISE = {"app.add_middleware"}


def functions():
    found = {}
    for table, name, parameters in re.findall(r"^function ([\w.]+)\.(\w+)\(([^)]*)\) end$", DEFINITIONS, re.M):
        path = f"{TABLES.get(table, table)}.{name}"
        found[path] = len([p for p in parameters.split(",") if p.strip()])
    return found


FUNCTIONS = functions()
# Handlers may come without options before them: then one argument less is what there may be.
REGISTERING = {name for name in FUNCTIONS if name.split(".")[-1] in {
    "listen", "timer_task", "get", "post", "put", "patch", "delete", "head", "options", "route", "websocket",
} and name.startswith("app") and ".shared." not in name}


def test_the_definitions_name_them_all():
    assert len(FUNCTIONS) > 50 and {"app.listen", "app.http.get", "app.shared.incr", "panini.json.encode"} <= FUNCTIONS.keys()


def test_surplus_arguments_are_refused_everywhere(check):
    lines = ['local app = panini.app{ service_name = "test", web_server = true }', "local function raised(name, fn, ...)",
             "local ok, text = pcall(fn, ...) print(name .. ' -> ' .. tostring(ok) .. ' ' .. tostring(text)) end"]
    checked = [name for name in FUNCTIONS if name not in OTHERWISE and re.match(r"(app|panini)\.", name)]
    for name in checked:
        surplus = ", ".join(["'x'"] * (FUNCTIONS[name] + 1))
        lines.append(f"raised('{name}', {name}, {surplus})")
    result = check("\n".join(lines))
    assert result.returncode == 0, result.stderr + result.stdout
    wrong = []
    for name in checked:
        said = re.search(rf"{re.escape(name)} -> (.*)", result.stdout + result.stderr)
        if not said or not re.search(r"takes (no|\d+) arguments?, got \d+", said[1]):
            wrong.append(said[0] if said else f"nothing of {name}")
    assert not wrong, "\n".join(wrong)


AFTER = [
    ("app.listen('a', function() end, { validator = v })", ["options come before the handler", "app.listen"]),
    ("app.timer_task(1, function() end, { name = 'x' })", ["options come before the handler", "app.timer_task"]),
    ("app.http.get('/', function() end, { max_body = 1 })", ["options come before the handler", "app.http.get"]),
    ("app.http.route('GET', '/', function() end, { timeout = 1 })", ["options come before the handler", "app.http.route"]),
    ("app.http.websocket('/', function() end, { max_message = 1 })", ["options come before the handler"]),
    ("app.listen('a', {}, function() end, 5)", ["app.listen", "takes 3 arguments, got 4"]),
    ("app.listen('a', 5, function() end)", ["options must be a table, not number"]),
    ("app.listen('a', function() end, function() end)", ["function after the handler"]),
    ("app.task(function() end, { name = 'x' })", ["app.task takes 1 argument, got 2"]),
    ("app.on_stop(function() end, 1)", ["app.on_stop takes 1 argument, got 2"]),
    ("app.add_middleware({ listen_any = print }, {})", ["further arguments"]),
    ("app.start(true)", ["app.start takes no arguments, got 1"]),
    ("panini.uuid('x')", ["panini.uuid takes no arguments, got 1"]),
    ("panini.env('HOME', 'x', 'y')", ["panini.env takes 2 arguments, got 3"]),
    ("panini.json.encode({}, { indent = 2 })", ["panini.json.encode takes 1 argument, got 2"]),
    ("panini.response({ text = 'x' }, 201)", ["panini.response takes 1 argument, got 2"]),
    ("v:validate({}, true)", ["validator:validate takes 1 argument, got 2"]),
    ("v:json_schema(true)", ["validator:json_schema takes no arguments, got 1"]),
    ("app.listen('a', print).unsubscribe(true)", ["handle.unsubscribe takes no arguments, got 1"]),
    ("app.add_middleware({ listen_any = print }).remove(1)", ["handle.remove takes no arguments, got 1"]),
]


@pytest.mark.parametrize("text, words", AFTER, ids=[a[0][:60] for a in AFTER])
def test_options_after_the_handler_and_their_likes(check, text, words):
    script = f"local v = panini.validator{{ a = {{ type = 'any', optional = true }} }} {text}"
    refused(check("\n" + script, options="web_server = true"), "test.lua:2:", *words)


def test_surplus_while_it_runs(service, client):
    port = free_port()
    service("""
        local function try(fn, ...) local ok, text = pcall(fn, ...) return ok and "accepted" or text end
        app.listen("go", { middlewares = { { listen_request = function(msg, callback)
            local first = try(callback, msg, true)
            local value = callback(msg)
            table.insert(value, 1, first)
            return value
        end } } }, function(msg)
            local job = app.spawn(function() end)
            local tried = {
                try(app.sleep, 0, 1), try(app.publish, "a", "b", {}, 1), try(app.request, "a", "b", {}, 1),
                try(app.flush, 1, 2), try(app.shared.get, "a", "b"), try(app.shared.set, "a", 1, 2, 3),
                try(app.spawn, function() end, 1), try(job.wait, 5), try(msg.respond, "a", {}, 1),
                try(function() return msg.headers:all("a", "b") end), try(app.http.fetch, "http://x/", {}, 1),
                try(app.wait_all, {}, 1), try(app.unsubscribe, "x", true),
            }
            job.wait()
            return tried
        end)
        app.listen("fine", function(msg)
            -- Nils at the end say nothing; the app, a handle and a message may stand in front.
            app:sleep(0, nil)
            assert(app:publish("a", "b", nil, nil))
            assert(app.shared.set("a", 1, nil, nil))
            app.listen("nil.options", nil, function() end)
            local handle = app:spawn(function() return 5 end)
            assert(handle:wait(nil) == 5 and handle.wait() == 5)
            assert(#panini.uuid(nil) == 36)
            assert(#msg.headers:all("a") == 0 and #msg.headers.all("a") == 0)
            msg:respond({ ok = true }, nil)
        end)
        app.http.post("/", nil, function(req)
            return { try(req.json, 1), try(req.form, 1) }
        end)
    """, options=f"web_server = true, web_port = {port}")
    said = client.ask("go")
    assert [text for text in said if not re.search(r"takes (no|\d+) arguments?, got \d+", text)] == []
    assert all("test.lua:" in text for text in said), said
    assert client.ask("fine") == {"ok": True}


def test_what_a_stream_is_given_too_much(service):
    running = service("""
        app.http.get("/events", function() return panini.response{ events = function(send)
            for _, event in ipairs{ { evnt = "x", data = 1 }, { "x" } } do
                local _, text = pcall(send, event)
                send(text)
            end
            local _, text = pcall(send, { data = 1 }, "more")
            send(text)
        end } end)
        app.http.get("/stream", function() return panini.response{ stream = function(write)
            local _, text = pcall(write, "a", "b")
            write(text)
        end } end)
    """, options="web_server = true, web_port = 0")
    port = running.wait_for(r"web server on http://127.0.0.1:(\d+)")[1]
    said = urllib.request.urlopen(f"http://127.0.0.1:{port}/events", timeout=30).read().decode()
    assert 'unknown member "evnt"; did you mean "event"' in said and 'unknown member "a position"' in said
    assert "send takes 1 argument, got 2" in said
    assert b"write takes 1 argument, got 2" in urllib.request.urlopen(f"http://127.0.0.1:{port}/stream", timeout=30).read()


# ---- assignments that nobody would ever see

ASSIGNMENTS = [
    ("app.shared.x = 1", ["app.shared.x cannot be assigned", "app.shared.set"]),
    ("app.on_stop = function() end", ["app.on_stop cannot be assigned", "app.on_stop(fn)"]),
    ("app.web_port = 9000", ["app.web_port cannot be assigned", "panini.app"]),
    ("app.http.get = print", ["app.http.get cannot be assigned"]),
    ("app.http.timeout = 5", ["app.http.timeout cannot be assigned"]),
    ("panini.worker = 2", ["panini.worker cannot be assigned", "variables of your own"]),
    ("panini.json.null = 2", ["panini.json.null cannot be assigned"]),
    ("panini.middleware.mine = {}", ["panini.middleware.mine cannot be assigned"]),
    ("app.logger.level = 'debug'", ["logger.level cannot be assigned", "--log-level"]),
    ("app.listen('a', print).subject = 'b'", ["panini.listener"]),
    ("app['a b'] = 1", ["app.a b cannot be assigned"]),
]


@pytest.mark.parametrize("text, words", ASSIGNMENTS, ids=[a[0] for a in ASSIGNMENTS])
def test_what_is_assigned_to_the_hosts_tables_is_refused(check, text, words):
    refused(check("\n" + text, options="web_server = true"), "test.lua:2:", *words)


def test_the_hosts_tables_read_as_tables_do(check):
    result = check("""
        local count, names = 0, {}
        for name, value in pairs(app) do count = count + 1 names[name] = value end
        assert(count > 15 and names.listen == app.listen and names.add_middleware and names.http == app.http)
        assert(next(app.shared) and app.nonsense == nil and rawequal(require "panini", panini))
        for name, value in pairs(panini) do assert(panini[name] == value) end
    """)
    assert result.returncode == 0, result.stderr
