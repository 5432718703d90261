"""`limits.memory` also holds for values that the host's functions make or copy: in Lua, and on their way out of it (7)."""

from peer import Peer, reply

from .rows import ENDED, FINE, SOME, WHATEVER, Ask, Must, Row
from .wire import TEXT, frame

# A loop over a table that is there already allocates nothing by itself: only what the host makes grows.
KEEP = """
local keep = {}
for i = 1, 2000 do keep[i] = false end
local function fill(n, make) for i = 1, n do keep[i] = make(i) end return "filled" end
on("forget", function() for i = 1, 2000 do keep[i] = false end collectgarbage() return "forgot" end)
local MB = 1 << 20
"""
LIMITED = (FINE, 500, ENDED)
# What Lua may hold at 64 MB, one value of the largest kind in these rows that is on its way, and pages of the C library.
MUST = Must(grow=130, keep=130, lines=200)


def filled(name, make, times, before="", value="x", **more):
    must = more.pop("must", MUST)
    return Row(f"memory.{name}", f"{KEEP}\n{before}\non('x', function(msg) for i = 1, {times} do keep[i] = {make} end return 'filled' end)",
        attack=(Ask("x", LIMITED), Ask("forget", (FINE, 500)), Ask("x", LIMITED)), must=must, **more)  # fmt: skip


def copied(name, body, before="", **more):
    """Nothing is kept in Lua: the copy is the host's."""
    must = more.pop("must", MUST)
    return Row(f"memory.{name}", f"{KEEP}\n{before}\non('x', function(msg) {body} return 'done' end)",
        attack=(Ask("x", WHATEVER), Ask("x", WHATEVER)), must=must, **more)  # fmt: skip


LIST = 'local one = ("x"):rep(MB) local list = {} for i = 1, 1200 do list[i] = one end'


def upload(a):
    body = b"".join(
        [b'--b\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n', b"x" * (15 << 20), b"\r\n--b--\r\n"]
    )
    connection = a.connect()
    head = f"POST /form HTTP/1.1\r\nHost: a\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: {len(body)}\r\n\r\n"
    a.push(connection, head.encode() + body)
    a.read(connection, 8, b"\r\n\r\n")


def posted(path, body, times=1):
    def attack(a):
        connection = a.connect()
        head = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        for _ in range(times):
            a.push(connection, head + body)
            a.read(connection, 8, b"\r\n\r\n")

    return attack


def served(body, headers="", code=LIMITED):
    """The service fetches from a peer of the row."""

    def attack(a):
        peer = Peer(lambda request: reply(body))
        a.open.callback(peer.close)
        answer = a.ask("x", b'{"url":"%s/"}' % peer.url.encode())
        a.check(answer and answer.code in code, f"answered {answer and answer.code}")

    return attack


def answered(size, count):
    """The service asks; each answer is large."""

    def attack(a):
        from harness import Client

        client = Client(a.siege.url)
        a.open.callback(client.close)
        client.responder("siege.large", lambda message: b"x" * size)
        answer = a.ask("x", b'{"count":%d}' % count)
        a.check(answer and answer.code in LIMITED, f"answered {answer and answer.code}")

    return attack


def messages(size, count):
    def attack(a):
        ws = a.websocket("/ws")
        a.push(ws.socket, frame(TEXT, b"x" * size) * count, 6)
        a.sleep(1)

    return attack


ROWS = [
    filled("shared-get", 'app.shared.get("k")', 100, 'app.task(function() app.shared.set("k", ("x"):rep(15 * MB)) end)'),
    filled("shared-get-table", 'app.shared.get("k")', 100, """
app.task(function() local t = {} for i = 1, 7 do t[i] = ("x"):rep(MB - 100) .. i end assert(app.shared.set("k", t)) end)"""),
    filled("shared-keys", "app.shared.keys()", 300, 'app.task(function() for i = 1, 300 do app.shared.set(("k"):rep(20000) .. i, 1) end end)'),
    Row("memory.shared-keys-by-the-hundred-thousand", f"""{KEEP}
local n = 0
on("x", function() for i = 1, 30000 do n = n + 1 app.shared.set("k" .. n, 1) end return n end)
on("y", function() local c = 0 for i = 1, 20 do c = c + #app.shared.keys() end return c end)
""", attack=(Ask("x", WHATEVER, times=12), Ask("y", WHATEVER), Ask("y", WHATEVER)), must=Must(grow=190, keep=190)),
    filled("get-logger", 'panini.get_logger(("x"):rep(5 * MB) .. i)', 300, quick=True),
    filled("json-decode-text", "panini.json.decode(text)", 200, 'local text = \'"\' .. ("x"):rep(15 * MB) .. \'"\''),
    filled("json-decode-list", "panini.json.decode(text)", 200, 'local text = "[" .. ("1,"):rep(MB) .. "1]"'),
    filled("json-encode", "panini.json.encode(value)", 200, 'local value = { ("x"):rep(15 * MB) }'),
    filled("json-encode-escapes", "panini.json.encode(value)", 200, 'local value = { ("\\0"):rep(3 * MB) }'),
    filled("base64-encode", "panini.base64.encode(value)", 200, 'local value = ("x"):rep(15 * MB)'),
    filled("base64-decode", "panini.base64.decode(value)", 200, 'local value = panini.base64.encode(("x"):rep(12 * MB))'),
    filled("format", '("%s%s"):format(value, value)', 200, 'local value = ("x"):rep(8 * MB)'),
    filled("gsub", 'value:gsub("x", "xx")', 200, 'local value = ("x"):rep(4 * MB)'),
    filled("concat", "table.concat(parts)", 200, 'local parts = {} for i = 1, 15 do parts[i] = ("x"):rep(MB) end'),
    filled("traceback", "debug.traceback(value)", 200, 'local value = ("x"):rep(15 * MB)'),
    filled("tostring-of-errors", 'select(2, pcall(error, value .. i))', 200, 'local value = ("x"):rep(15 * MB)'),
    filled("error-messages", 'tostring(select(2, pcall(app.publish, value, 1)))', 200, 'local value = ("x"):rep(8 * MB)'),
    filled("json-schema", "v:json_schema()", 400, """
local enum = {} for i = 1, 60 do enum[i] = ("x"):rep(100000) .. i end
local v = panini.validator{ a = { type = "string", enum = enum } }"""),
    copied("validator-pattern", 'pcall(panini.validator, { a = { type = "string", pattern = text } })', 'local text = ("a"):rep(30 * MB)',
        quick=True),
    copied("validator-choice", 'pcall(panini.validator, { a = { type = "string", enum = { text } } })', 'local text = ("a"):rep(30 * MB)'),
    copied("validator-names", "pcall(panini.validator, fields)", """
local fields = {} for i = 1, 7000 do fields[("n"):rep(6000) .. i * 7919 % 7001] = { type = "any" } end"""),
    copied("validator-many-names", "pcall(panini.validator, fields)", """
local fields, one = {}, { type = "any" } for i = 1, 300000 do fields["n" .. i * 7919 % 300007] = one end"""),
    copied("validator-default-of-many", "pcall(panini.validator, fields)", """
local fields, one = {}, { type = "string", default = ("x"):rep(MB) } for i = 1, 9000 do fields["n" .. i] = one end"""),
    filled("violations", "select(2, v:validate(value))", 400, """
local v = panini.validator({ a = { type = "any", optional = true } }, { unknown = "refuse", max_violations = 10000 })
local value = {} for i = 1, 200 do value[("k"):rep(20000) .. i] = i end"""),
    filled("message-raw", "msg.raw .. i", 400),
    filled("coroutines", "coroutine.create(function() end)", 2000, 'for i = 1, 2000 do keep[i] = false end'),
    Row("memory.request-answers", f"""{KEEP}
on("x", function(msg) for i = 1, msg.data.count do keep[i] = app.request("siege.large", {{}}, {{ response_data_type = "bytes" }}) end return "kept" end)
""", attack=answered(900_000, 200), must=MUST, cpu=1),
    Row("memory.fetch-bodies", f"""{KEEP}
on("x", function(msg) for i = 1, 100 do local r = app.http.fetch(msg.data.url) keep[i] = r and r.body end return "kept" end)
""", attack=served(b"x" * (8 << 20)), must=MUST, cpu=1),
    Row("memory.fetch-json", f"""{KEEP}
on("x", function(msg)
    local r = app.http.fetch(msg.data.url)
    for i = 1, 300 do keep[i] = r.json() end
    return "kept"
end)
""", attack=served(b'"' + b"x" * (8 << 20) + b'"'), must=MUST, cpu=1),
    Row("memory.fetch-at-once", f"""{KEEP}
on("x", function(msg)
    local fs = {{}}
    for i = 1, 60 do fs[i] = function() local r = app.http.fetch(msg.data.url) keep[i] = r and r.body end end
    app.wait_all(fs)
    return "kept"
end)
""", attack=served(b"x" * (8 << 20)), must=Must(grow=560, keep=140, lines=200), cpu=1),
    Row("memory.form-of-upload", f"""{KEEP}
app.http.post("/form", {{ max_body = "20MB" }}, function(req) for i = 1, 60 do keep[i] = req.form() end return "kept" end)
""", web=True, attack=upload, must=Must(grow=160, keep=150, lines=200)),
    Row("memory.json-of-body", f"""{KEEP}
app.http.post("/json", {{ max_body = "20MB" }}, function(req) for i = 1, 60 do keep[i] = req.json() end return "kept" end)
""", web=True, attack=posted("/json", b'"' + b"x" * (15 << 20) + b'"'), must=Must(grow=160, keep=150, lines=200)),
    Row("memory.body-again", f"""{KEEP}
app.http.post("/body", {{ max_body = "20MB" }}, function(req) for i = 1, 200 do keep[i] = req.body .. i end return "kept" end)
""", web=True, attack=posted("/body", b"x" * (15 << 20), 3), must=Must(grow=160, keep=150, lines=200)),
    Row("memory.query-of-request", f"""{KEEP}
app.http.get("/q", function(req) for i = 1, 2000 do keep[i] = {{ req.query, req.query_all, req.cookies, req.headers }} end return "kept" end)
""", web=True, attack=lambda a: [a.get("/q?" + "&".join(f"a{n}=b" for n in range(1500))) for _ in range(10)], must=MUST),
    Row("memory.websocket-messages", f"""{KEEP}
app.http.websocket("/ws", function(ws) for i = 1, 2000 do keep[i] = ws.receive() end end)
""", web=True, attack=messages(1_000_000, 200), must=MUST, cpu=1),
    Row("memory.websocket-sends-unread", f"""{KEEP}
local text = ("x"):rep(MB)
app.http.websocket("/ws", function(ws) for i = 1, 2000 do ws.send(text, {{ wait = false }}) end end)
""", web=True, attack=messages(10, 1), must=MUST, cpu=1),
    Row("memory.stream-pieces-unread", f"""{KEEP}
local text = ("x"):rep(15 * MB)
app.http.get("/s", function() return panini.response{{ stream = function(write) for i = 1, 60 do app.spawn(function() write(text) end) end app.sleep(2) end }} end)
""", web=True, attack=lambda a: (a.push(a.connect(receive=4096), b"GET /s HTTP/1.1\r\nHost: a\r\n\r\n"), a.sleep(1.5)),
        must=Must(grow=130, keep=130, lines=200, exits=(0, 1)), cpu=1),
    # ---- copies to the host
    copied("publish-headers", "pcall(app.publish, 'nobody.listens', 'x', { headers = { a = list } })", LIST, quick=True),
    copied("request-headers", "pcall(app.request, 'nobody.listens', 'x', { headers = { a = list }, timeout = 0.1 })", LIST),
    copied("respond-headers", "pcall(msg.respond, 'x', { headers = { a = list } })", LIST),
    copied("logger-fields", "app.logger.info('x', { l = list })", LIST, must=Must(grow=130, keep=130, kilobytes=3000)),
    copied("logger-text", "for i = 1, 200 do app.logger.info(one .. i) end", LIST, must=Must(grow=130, keep=130, lines=400, kilobytes=3000)),
    copied("print-list", "print(table.unpack(list, 1, 200))", LIST, must=Must(grow=130, keep=130, kilobytes=3000)),
    copied("publish-json-of-list", "pcall(app.publish, 'nobody.listens', list)", LIST),
    copied("publish-many", "for i = 1, 300 do app.publish('nobody.listens', text) end", 'local text = ("x"):rep(1000000)', must=Must(grow=190, keep=190)),
    copied("shared-set-list", "for i = 1, 10 do pcall(app.shared.set, 'k' .. i, list) end", LIST, must=Must(grow=190, keep=190)),
    copied("shared-set-below-a-long-key", "pcall(app.shared.set, 'k', tree)", """
local tree = {} local inner = tree for i = 1, 126 do inner[1] = {} inner = inner[1] end tree = { [("x"):rep(7 * MB)] = tree }""",
        quick=True),
    copied("shared-get-small-tables", "pcall(app.shared.get, 'k')", """
app.task(function()
    local c = {} for i = 1, 120 do c = { [true] = c } end
    local list = {} for i = 1, 20000 do list[i] = c end
    app.shared.set("k", list)
end)"""),
    copied("shared-set-many", "for i = 1, 10000 do app.shared.set('k' .. i, text) end", 'local text = ("x"):rep(MB)', must=Must(grow=190, keep=190)),
    copied("fetch-form", "pcall(app.http.fetch, 'http://127.0.0.1:9/', { form = { a = list }, timeout = 1 })", LIST),
    copied("fetch-form-names", "pcall(app.http.fetch, 'http://127.0.0.1:9/', { form = fields, timeout = 1 })", """
local fields = {} for i = 1, 7000 do fields[("n"):rep(6000) .. i * 7919 % 7001] = "x" end"""),
    copied("fetch-header-names", "pcall(app.http.fetch, 'http://127.0.0.1:9/', { headers = fields, timeout = 1 })", """
local fields = {} for i = 1, 7000 do fields[("n"):rep(6000) .. i * 7919 % 7001] = "x" end"""),
    copied("route-of-combining-marks", "pcall(app.http.get, text, print)", 'local text = ("\\u{301}"):rep(15 * MB)', quick=True),
    copied("fetch-json-of-list", "pcall(app.http.fetch, 'http://127.0.0.1:9/', { json = list, timeout = 1 })", LIST),
    copied("fetch-headers", "pcall(app.http.fetch, 'http://127.0.0.1:9/', { headers = { a = list }, timeout = 1 })", LIST),
    copied("listen-subjects", "pcall(app.listen, list, function() end)", 'local one = ("x"):rep(1000) local list = {} for i = 1, 60000 do list[i] = one .. i end'),
    copied("listen-metadata", "pcall(app.listen, 'evil.m', { metadata = { a = one, b = one, c = one } }, function() end)", LIST),
    copied("error-list", "error{ code = 422, message = 'x', errors = list }", LIST),
    copied("answer-list", "do return list end", LIST),
    copied("middleware-options", "for i = 1, 40 do pcall(panini.middleware.cors, { origins = list }) end", LIST),
    copied("reload-state", "", f'{LIST} app.on_reload(function() return list end)'),
    Row("memory.response-headers", f"""{KEEP}
{LIST}
app.http.get("/h", function() return panini.response{{ text = "x", headers = {{ a = list }} }} end)
""", web=True, attack=lambda a: [a.get("/h") for _ in range(2)], must=MUST, quick=True),
    Row("memory.response-json-of-list", f"""{KEEP}
{LIST}
app.http.get("/h", function() return list end)
""", web=True, attack=lambda a: [a.get("/h") for _ in range(2)], must=MUST),
    Row("memory.events-of-list", f"""{KEEP}
{LIST}
app.http.get("/h", function() return panini.response{{ events = function(send) send{{ data = list }} send{{ data = one .. one, id = one }} end }} end)
""", web=True, attack=lambda a: [a.get("/h", 3) for _ in range(2)], must=MUST),
    Row("memory.state-that-stays-full", f"""{KEEP}
on("x", function() local t = {{}} fill(2000, function(i) return ("x"):rep(MB) .. i end) end)
""", attack=(Ask("x", (500, ENDED)), Ask("x", WHATEVER), Ask("x", WHATEVER)), must=MUST),
    Row("memory.many-states-of-workers", f"""{KEEP}
on("x", function() fill(2000, function(i) return ("x"):rep(MB) .. i end) end)
""", flags=("--workers", "2"), attack=(Ask("x", WHATEVER, times=6),), must=Must(grow=230, keep=230, lines=300)),
]
