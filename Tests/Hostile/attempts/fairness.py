"""Fair turns: whatever comes at once, or feeds itself, the neighbour on the same worker is served between, and SIGTERM heard."""

import time

from peer import Peer, reply

from .rows import ENDED, FINE, SOME, WHATEVER, Ask, Burst, Must, Row, Watch
from .wire import PREFACE, TEXT, frame, get, h2_get, h2_settings

SPIN = """
local function spin(seconds) local over = panini.monotonic() + seconds while panini.monotonic() < over do end end
"""
# What has no end of its own is cut off at the stop.
ENDLESS = Must(exits=(0, 1))
WEB = "web_max_body = 1000000"


def spinning(seconds):
    return f'{SPIN}app.http.get("/spin", function() spin({seconds}) return "spun" end)'


def connections(count, data, seconds=2):
    def attack(a):
        for connection in [a.connect() for _ in range(count)]:
            a.push(connection, data)
        a.sleep(seconds)

    return attack


def pipelined(a):
    a.push(a.connect(), get("/spin") * 44)
    a.sleep(2)


def http2_streams(a):
    data = PREFACE + h2_settings() + b"".join(h2_get("/spin", 1 + 2 * n) for n in range(55))
    a.push(a.connect(), data)
    a.sleep(2)


def http2_connections(a):
    for _ in range(8):
        a.push(a.connect(), PREFACE + h2_settings() + b"".join(h2_get("/spin", 1 + 2 * n) for n in range(10)))
    a.sleep(2)


def websocket_messages(count, sockets=1, size=1):
    def attack(a):
        open_ones = [a.websocket("/ws") for _ in range(sockets)]
        for ws in open_ones:
            a.push(ws.socket, frame(TEXT, b"x" * size) * count)
        a.sleep(2)

    return attack


def fetches(path, count):
    def attack(a):
        gate = []

        def answer(request):
            gate.append(1)
            while len(gate) < count and not a.over.is_set():
                time.sleep(0.01)
            return reply(b"x" * 1000)

        peer = Peer(answer)
        a.open.callback(peer.close)
        a.requester.publish("evil.go", b'{"url":"%s","count":%d}' % (peer.url.encode(), count), reply="nobody")
        a.sleep(4)

    return attack


def answers_at_once(a):
    """Hundreds of requests of the service are answered in one write."""
    requester = a.requester
    requester.send(b"SUB siege.asked 9\r\n")
    requester.publish("evil.go")
    inboxes = []
    deadline = time.monotonic() + 10
    while len(inboxes) < 150 and (message := requester.message_with_reply(deadline)):
        inboxes.append(message)
    a.check(len(inboxes) == 150, f"{len(inboxes)} requests came")
    requester.send(b"".join(b"PUB %s 2\r\n{}\r\n" % inbox for inbox in inboxes))
    a.sleep(3.5)


def reloads(times, pause=0.05):
    def attack(a):
        a.ask("go")
        for _ in range(times):
            a.reload()
            a.sleep(pause)
        a.sleep(0.5)

    return attack


def burst_and_reloads(a):
    for _ in range(6):
        a.requester.publish("evil.x", times=4)
        a.reload()
        a.sleep(0.1)
    a.sleep(2)


def expired(a):
    """Six hundred thousand entries of app.shared expire within seconds; one set must not pay for all of them."""
    for _ in range(60):
        a.ask("fill")
    a.sleep(8)
    for _ in range(2):
        answer = a.ask("x")
        a.check(answer and answer.code == FINE, f"answered {answer and answer.code}")


ROWS = [
    # ---- bursts of messages
    Row("fair.messages.quarter-second", f"{SPIN} on('x', function() spin(0.2) return 1 end)", attack=Burst(("x",), 11, seconds=2), quick=True),
    Row("fair.shared.expired", """
local n = 0
on("fill", function() for i = 1, 10000 do n = n + 1 app.shared.set("k" .. n, 1, 6 + n * 1e-5) end return n end)
on("x", function() local before = panini.monotonic() app.shared.set("z", 1) assert(panini.monotonic() - before < 0.05) return 1 end)
""", attack=expired, must=Must(grow=190, keep=190)),
    Row("fair.messages.endless", "on('x', forever)", attack=Burst(("x",), 12, seconds=2)),
    Row("fair.messages.hundreds-of-short", f"{SPIN} on('x', function() spin(0.005) return 1 end)", attack=Burst(("x",), 440, seconds=2)),
    Row("fair.messages.thousands-of-tiny", f"{SPIN} on('x', function() spin(0.0005) return 1 end)", attack=Burst(("x",), 4400, seconds=2),
        must=Must(grow=80, keep=80)),
    Row("fair.messages.one-way", f"{SPIN} on('x', function() spin(0.05) end)", attack=lambda a: (a.requester.publish("evil.x", times=44), a.sleep(2))),
    Row("fair.messages.sync-strategy", f"{SPIN} on('x', function() spin(0.1) return 1 end)", options='app_strategy = "sync"',
        attack=Burst(("x",), 22, seconds=2)),
    Row("fair.messages.sync-strategy-that-waits", f"{SPIN} on('x', function() spin(0.05) app.sleep(0) spin(0.05) return 1 end)",
        options='app_strategy = "sync"', attack=Burst(("x",), 22, seconds=2)),
    Row("fair.messages.one-at-a-time", f"{SPIN} on('x', function() spin(0.1) return 1 end, {{ concurrency = 1 }})", attack=Burst(("x",), 22, seconds=2)),
    Row("fair.messages.one-at-a-time-that-wait", f"{SPIN} on('x', function() app.sleep(0) spin(0.1) return 1 end, {{ concurrency = 1 }})",
        attack=Burst(("x",), 22, seconds=2)),
    Row("fair.messages.queue-groups", f"{SPIN} for i = 1, 4 do app.listen('evil.x', {{ queue = 'q' .. i }}, function() spin(0.05) return 1 end) end",
        attack=Burst(("x",), 11, seconds=2)),
    Row("fair.messages.many-listeners", f"{SPIN} for i = 1, 32 do on('x' .. i, function() spin(0.1) return 1 end) end",
        attack=Burst(tuple(f"x{n}" for n in range(1, 33)), 24, seconds=2)),
    Row("fair.messages.middlewares", f"""{SPIN}
app.add_middleware{{ listen_any = function(msg, callback) spin(0.05) local r = callback(msg) spin(0.05) return r end }}
on("x", function() return 1 end)
""", attack=Burst(("x",), 22, seconds=2)),
    Row("fair.messages.validators", f"""{SPIN}
local v = panini.validator{{ a = {{ type = "any", check = function() spin(0.1) return true end }} }}
on("x", function() return 1 end, {{ validator = v }})
""", attack=Burst(("x",), 22, b'{"a":1}', seconds=2)),
    Row("fair.messages.large-json", "on('x', function(msg) return #msg.data end)",
        attack=Burst(("x",), 40, b"[" + b"1,2.5,true," * 60000 + b"1]", seconds=3), must=Must(grow=160, keep=160)),
    Row("fair.messages.that-fail", f"{SPIN} on('x', function() spin(0.05) error('x') end)", attack=Burst(("x",), 44, seconds=2), must=Must(lines=400)),
    Row("fair.messages.invalid-json", "on('x', function(msg) return msg.data end)", attack=Burst(("x",), 5000, b"{broken" * 10, seconds=1.5),
        must=Must(lines=200, kilobytes=300)),
    Row("fair.messages.beyond-pending-limit", f"{SPIN} on('x', function() spin(0.005) return 1 end, {{ concurrency = 1 }})", options="pending_limit = 100",
        attack=Burst(("x",), 800, seconds=2)),
    Row("fair.messages.that-wait-and-wake-together", f"{SPIN} on('x', function() app.sleep(0.5) spin(0.02) return 1 end)", attack=Burst(("x",), 160, seconds=3)),
    Row("fair.messages.two-services-asked", f"{SPIN} on('x', function() spin(0.05) return 1 end)",
        attack=lambda a: [(a.requester.publish("evil.x", times=8), a.sleep(0.3)) for _ in range(8)]),
    # ---- bursts over the web server
    Row("fair.http1.pipelined", spinning(0.05), web=True, attack=pipelined, quick=True),
    Row("fair.http1.connections", spinning(0.05), web=True, attack=connections(44, get("/spin"))),
    Row("fair.http1.connections-pipelined", spinning(0.02), web=True, attack=connections(20, get("/spin") * 8)),
    Row("fair.http1.sync-strategy", spinning(0.05), web=True, options='app_strategy = "sync"', attack=connections(44, get("/spin"))),
    Row("fair.http1.streams", f"""{SPIN}
app.http.get("/spin", function() return panini.response{{ stream = function(write) for i = 1, 10 do spin(0.05) write("x") end end }} end)
""", web=True, attack=connections(8, get("/spin"), 3)),
    Row("fair.http1.events", f"""{SPIN}
app.http.get("/spin", function() return panini.response{{ events = function(send) for i = 1, 10 do spin(0.05) send{{ data = i }} end end }} end)
""", web=True, attack=connections(8, get("/spin"), 3)),
    Row("fair.http1.middlewares", f"""{SPIN}
app.add_middleware{{ http_request = function(req, callback) spin(0.05) return callback(req) end }}
app.http.get("/spin", function() return "x" end)
""", web=True, attack=connections(44, get("/spin"))),
    Row("fair.http2.streams", spinning(0.04), web=True, attack=http2_streams),
    Row("fair.http2.connections", spinning(0.04), web=True, attack=http2_connections),
    Row("fair.websocket.messages", f"{SPIN} app.http.websocket('/ws', {{ message = function() spin(0.05) end }})", web=True,
        attack=websocket_messages(44), quick=True),
    Row("fair.websocket.messages-received", f"{SPIN} app.http.websocket('/ws', function(ws) while ws.receive() do spin(0.05) end end)", web=True,
        attack=websocket_messages(44)),
    Row("fair.websocket.connections", f"{SPIN} app.http.websocket('/ws', {{ message = function() spin(0.05) end }})", web=True,
        attack=websocket_messages(4, 11)),
    Row("fair.websocket.open-and-close", f"{SPIN} app.http.websocket('/ws', {{ open = function() spin(0.05) end, close = function() spin(0.05) end }})", web=True,
        attack=lambda a: [a.websocket("/ws").socket.close() for _ in range(30)]),
    Row("fair.websocket.sync-strategy", f"{SPIN} app.http.websocket('/ws', {{ message = function() spin(0.05) end }})", web=True,
        options='app_strategy = "sync"', attack=websocket_messages(44)),
    # ---- what comes back at once
    Row("fair.fetch.completions", f"""{SPIN}
on("go", function(msg)
    for i = 1, msg.data.count do app.spawn(function() app.http.fetch(msg.data.url) spin(0.06) end) end
end)
""", attack=fetches("/", 50)),
    Row("fair.requests.answered-at-once", f"""{SPIN}
on("go", function() for i = 1, 150 do app.spawn(function() app.request("siege.asked", {{}}, {{ timeout = 8 }}) spin(0.02) end) end end)
""", attack=answers_at_once),
    Row("fair.requests.time-out-together", f"""{SPIN}
app.listen("evil.silent", {{ reply = false }}, function() end)
on("go", function() for i = 1, 150 do app.spawn(function() app.request("evil.silent", {{}}, {{ timeout = 0.5 }}) spin(0.02) end) end return 1 end)
""", attack=(Ask("go", FINE), Watch(4))),
    # ---- timers
    Row("fair.timers.busy", f"{SPIN} on('go', function() return 1 end) for i = 1, 500 do app.timer_task(0.001, function() spin(0.002) end) end",
        attack=(Watch(1.5),), must=ENDLESS, quick=True),
    Row("fair.timers.twenty-thousand-empty", "for i = 1, 20000 do app.timer_task(0.001, function() end) end", attack=(Watch(1.5),), must=Must(exits=(0, 1), grow=80, keep=80)),
    Row("fair.timers.endless", "for i = 1, 20 do app.timer_task(0.01, forever) end", attack=(Watch(2),), must=Must(exits=(0, 1), lines=400)),
    Row("fair.timers.delay-mode", f"{SPIN} for i = 1, 100 do app.timer_task(0.001, {{ mode = 'delay' }}, function() spin(0.01) end) end",
        attack=(Watch(1.5),), must=ENDLESS),
    Row("fair.timers.that-fail", "for i = 1, 50 do app.timer_task(0.1, function() error('x') end) end", attack=(Watch(1.2),),
        must=Must(exits=(0, 1), lines=6000, kilobytes=600)),
    Row("fair.timers.same-phase", f"{SPIN} for i = 1, 60 do app.timer_task(0.9, {{ immediate = false }}, function() spin(0.04) end) end",
        attack=(Watch(3.5),), must=ENDLESS),
    # ---- queues that feed themselves (4g)
    Row("fair.spawn.in-spawn", "on('go', function() local function f() app.spawn(f) end app.spawn(f) return 1 end)", attack=(Ask("go", FINE), Watch(1.2)),
        must=ENDLESS, quick=True),
    Row("fair.spawn.in-task", "app.task(function() local function f() app.spawn(f) end app.spawn(f) end)", attack=(Watch(1.2),), must=ENDLESS),
    Row("fair.spawn.two-for-one", "on('go', function() local function f() app.spawn(f) app.spawn(f) end app.spawn(f) return 1 end)",
        attack=(Ask("go", FINE), Watch(1.2)), must=Must(exits=(0, 1), grow=130, keep=130, lines=400)),
    Row("fair.spawn.wait-in-task", "app.task(function() while true do app.spawn(function() end).wait() end end)", attack=(Watch(1.2),), must=ENDLESS),
    Row("fair.spawn.wait-all-in-task", "app.task(function() while true do app.wait_all{ function() end } end end)", attack=(Watch(1.2),), must=ENDLESS),
    Row("fair.spawn.wait-all-of-wait-all", "app.task(function() local function f() app.wait_all{ f, function() end } end f() end)", attack=(Watch(1.2),),
        must=Must(exits=(0, 1), grow=130, keep=130, lines=400)),
    Row("fair.spawn.in-handler-of-http", "app.http.get('/go', function() local function f() app.spawn(f) end app.spawn(f) return 1 end)", web=True,
        attack=lambda a: (a.get("/go"), a.sleep(1.2)), must=ENDLESS),
    Row("fair.spawn.two-hundred-thousand-sleepers", "on('go', function() for i = 1, 200000 do app.spawn(function() app.sleep(5) end) end return 1 end)",
        attack=(Ask("go", (FINE, 500, ENDED)), Watch(1.2)), must=Must(exits=(0, 1), grow=140, keep=140, lines=300)),
    Row("fair.spawn.two-hundred-thousand-requests", """
on('go', function() for i = 1, 200000 do app.spawn(function() app.request("nobody.listens", {}) end) end return 1 end)
""", attack=(Ask("go", (FINE, 500, ENDED)), Watch(1.2)), must=Must(exits=(0, 1), grow=160, keep=160, lines=300)),
    Row("fair.spawn.that-all-fail", "on('go', function() for i = 1, 20000 do app.spawn(function() error('x') end) end return 1 end)",
        attack=(Ask("go", (FINE, 500, ENDED)), Watch(1.2)), must=Must(exits=(0, 1), grow=160, keep=160, lines=120_000, kilobytes=9000)),
    Row("fair.sleep.nothing-in-task", "app.task(function() while true do app.sleep(0) end end)", attack=(Watch(1.2),), must=ENDLESS),
    Row("fair.sleep.microsecond-in-task", "app.task(function() while true do app.sleep(1e-6) end end)", attack=(Watch(1.2),), must=ENDLESS),
    Row("fair.sleep.negative-in-task", "app.task(function() while true do pcall(app.sleep, -1) pcall(app.sleep, 0 / 0) app.sleep(0) end end)", attack=(Watch(1.2),), must=ENDLESS),
    Row("fair.sleep.thousand-tasks", "for i = 1, 1000 do app.task(function() while true do app.sleep(0) end end) end", attack=(Watch(1.2),), must=ENDLESS),
    Row("fair.sleep.wake-together", f"{SPIN} on('go', function() for i = 1, 150 do app.spawn(function() app.sleep(0.5) spin(0.02) end) end return 1 end)",
        attack=(Ask("go", FINE), Watch(4))),
    Row("fair.loop.publish-to-itself", "on('x', function(msg) app.publish('evil.x', {}) app.publish('evil.x', {}) end)", options="pending_limit = 1000",
        attack=lambda a: (a.requester.publish("evil.x"), a.sleep(1.2)), must=Must(exits=(0, 1), grow=120, keep=120)),
    Row("fair.loop.request-to-itself", "on('x', function(msg) return app.request('evil.x', {}, { timeout = 1 }) end)",
        attack=lambda a: (a.requester.publish("evil.x", reply="nobody"), a.sleep(1.2)), must=Must(exits=(0, 1), grow=160, keep=160, lines=600)),
    Row("fair.loop.flush", "app.task(function() while true do app.publish('nobody.listens', 'x') app.flush() end end)", attack=(Watch(1.2),), must=ENDLESS),
    Row("fair.loop.listen-and-unsubscribe", "app.task(function() while true do local l = app.listen('evil.more', function() end) if l then l.unsubscribe() end end end)",
        attack=(Watch(1.2),), must=Must(exits=(0, 1), grow=80, keep=80)),
    Row("fair.loop.shared", "app.task(function() while true do app.shared.incr('n') app.sleep(0) end end)", attack=(Watch(1.2),), must=ENDLESS),
    Row("fair.loop.no-responders", "app.task(function() while true do app.request('nobody.listens', {}) end end)", attack=(Watch(1.2),), must=ENDLESS),
    Row("fair.loop.logs", "app.task(function() while true do app.logger.info('x') app.sleep(0) end end)", attack=(Watch(1.5),),
        must=Must(exits=(0, 1), lines=400000, kilobytes=60000)),
    # ---- CPU over many short segments (2)
    Row("fair.stretches.handler", "on('x', function() while true do for i = 1, 1e5 do end app.sleep(0) end end)", attack=(Ask("x", ENDED),), quick=True),
    Row("fair.stretches.handler-with-requests", """
app.listen("evil.echo", function() return 1 end)
on("x", function() while true do for i = 1, 1e5 do end app.request("evil.echo", {}) end end)
""", attack=(Ask("x", ENDED),)),
    Row("fair.stretches.spawned", "on('x', function() for i = 1, 20 do app.spawn(function() while true do for i = 1, 1e6 do end app.sleep(0) end end) end return 1 end)",
        attack=(Ask("x", FINE), Watch(2)), must=ENDLESS),
    Row("fair.stretches.wait-all", "on('x', function() local function f() while true do for i = 1, 1e5 do end app.sleep(0) end end app.wait_all{ f, f, f } return 1 end)",
        attack=(Ask("x", (FINE, ENDED)),), must=ENDLESS),
    Row("fair.stretches.task", "app.task(function() while true do for i = 1, 2e6 do end app.sleep(0) end end)", attack=(Watch(2),), must=ENDLESS),
    Row("fair.stretches.task-near-its-budget", f"{SPIN} app.task(function() while true do spin(0.2) app.sleep(0) end end)", attack=(Watch(2),),
        must=Must(exits=(0, 1))),
    Row("fair.stretches.websocket-function", "app.http.websocket('/ws', function(ws) while true do for i = 1, 1e6 do end app.sleep(0) end end)", web=True,
        attack=lambda a: ([a.websocket("/ws") for _ in range(5)], a.sleep(3)), must=ENDLESS),
    Row("fair.stretches.stream", """
app.http.get("/x", function() return panini.response{ stream = function(write) while write("x") do for i = 1, 1e6 do end app.sleep(0) end end } end)
""", web=True, attack=connections(5, get("/x"), 2.5), must=ENDLESS),
    Row("fair.stretches.start-hook", "app.on_start_task(function() local over = panini.monotonic() + 0.15 while panini.monotonic() < over do for i = 1, 1e4 do end app.sleep(0) end end)",
        attack=(Watch(0.5),), must=ENDLESS),
    Row("fair.stretches.coroutine-of-its-own", """
on("x", function() local co = coroutine.wrap(function() while true do for i = 1, 1e5 do end app.sleep(0) end end) co() end)
""", attack=(Ask("x", ENDED),)),
    Row("fair.stretches.timer", f"{SPIN} app.timer_task(0.001, function() spin(0.2) end)", attack=(Watch(2),), must=ENDLESS),
    # ---- stops and reloads while it goes on
    Row("fair.stop.hook-that-loops", "app.on_stop(forever)", attack=(Ask("alive", FINE),), must=ENDLESS),
    Row("fair.stop.hook-that-waits", "app.on_stop(function() app.sleep(1000) end)", attack=(Ask("alive", FINE),), must=ENDLESS),
    Row("fair.stop.hook-that-spawns", "app.on_stop(function() local function f() app.spawn(f) end app.spawn(f) app.sleep(0) end)", attack=(Ask("alive", FINE),),
        must=ENDLESS),
    Row("fair.stop.hook-that-sleeps-nothing", "app.on_stop(function() while true do app.sleep(0) end end)", attack=(Ask("alive", FINE),), must=ENDLESS),
    Row("fair.stop.handlers-that-wait", "on('x', function() app.sleep(1000) end, { timeout = 1000 })", attack=Burst(("x",), 500, seconds=0.3), must=ENDLESS),
    Row("fair.stop.during-a-burst", f"{SPIN} on('x', function() spin(0.2) end)", attack=lambda a: a.requester.publish("evil.x", times=60),
        must=Must(exits=(0, 1), alive=False)),
    Row("fair.reload.hook-that-loops", "app.on_reload(forever)", attack=reloads(5, 0.3), must=Must(lines=200, exits=(0, 1))),
    Row("fair.reload.hook-that-waits", "app.on_reload(function() app.sleep(1000) end)", attack=reloads(5, 0.1), must=Must(lines=200, exits=(0, 1))),
    Row("fair.reload.storm", "on('go', function() return 1 end)", attack=reloads(40), must=Must(lines=400)),
    Row("fair.reload.storm-during-bursts", f"{SPIN} on('x', function() spin(0.05) end)", attack=burst_and_reloads, must=Must(lines=200, exits=(0, 1))),
    Row("fair.reload.while-spawns-feed-themselves", "on('go', function() local function f() app.spawn(f) end app.spawn(f) return 1 end)",
        options="drain_timeout = 1", attack=reloads(4, 0.5), must=Must(lines=200, exits=(0, 1))),
    Row("fair.workers.burst-on-two", f"{SPIN} on('x', function() spin(0.2) end)", flags=("--workers", "2"),
        attack=lambda a: (a.requester.publish("evil.x", times=24), a.sleep(3))),
    Row("fair.workers.stuck-trusted", "on('x', function() os.execute('exec sleep 12 > /dev/null 2>&1') end)", flags=("--workers", "2", "--trust=evil", "--wedged-after", "0.5"),
        attack=lambda a: (a.requester.publish("evil.x"), a.sleep(2.5)), must=Must(exits=(0, 1), budgets=None)),
    Row("fair.workers.all-stuck-trusted", "on('x', function() os.execute('exec sleep 12 > /dev/null 2>&1') end)", flags=("--workers", "2", "--trust=evil", "--wedged-after", "0.5"),
        attack=lambda a: (a.requester.publish("evil.x", times=6), a.sleep(2.5)), must=Must(exits=(0, 1), budgets=None)),
    Row("fair.workers.stuck-alone", "on('x', function() os.execute('exec sleep 12 > /dev/null 2>&1') end)", flags=("--trust=evil", "--wedged-after", "0.5"),
        attack=lambda a: (a.requester.publish("evil.x"), a.sleep(2.5)), must=Must(exits=(0, 1), budgets=None)),
]
