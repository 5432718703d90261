"""The NATS client: a broker that is hostile to its clients, and clients of a real one that are hostile to each other."""

import json
import time

from .rows import ENDED, FINE, SOME, Ask, Must, Row, Watch

MUST = Must(exits=(0, 1), lines=150, kilobytes=200, grow=60)
MB = 1 << 20
LISTEN = 'on("x", function(msg) return { size = msg.size } end)'


def speaks(name, speak, script=LISTEN, seconds=1.3, must=MUST, **more):
    """The service's broker is `speak(link)`; its neighbour has a real one."""
    return Row(f"nats.broker.{name}", script, speaks=speak, attack=(Watch(seconds),), must=must, **more)


def flooding(data, seconds=1.2):
    """A broker as others are, which then sends the same again and again, and reads nothing."""

    def speak(link):
        link.serve()
        link.flood(data, seconds)

    return speak


def once(data, hold=3):
    """A broker as others are, which then says this."""

    def speak(link):
        link.serve()
        link.send(data)
        link.wait(hold)

    return speak


def at_first(data, hold=3):
    """What comes in place of the first INFO."""

    def speak(link):
        link.send(data)
        link.wait(hold)

    return speak


def at_first_flooding(data, seconds=2):
    def speak(link):
        link.flood(data, seconds)

    return speak


def closing(link):
    """Ends each connection as soon as it is there."""
    link.greet()


def drip(link):
    for byte in b'INFO {"server_id":"x"' + b" " * 500:
        link.send(bytes([byte]))
        time.sleep(0.02)


def never_pong(link):
    link.greet()
    link.wait(6)


def refusing(link):
    link.greet()
    link.send(b"-ERR 'Authorization Violation'\r\n")


def unread(link):
    """Takes nothing of what the service sends."""
    link.serve()
    link.wait(4)


def info(**fields):
    return b"INFO " + json.dumps({"server_id": "x", "version": "2.10.0", "max_payload": MB, "headers": True, **fields}).encode() + b"\r\n"


MESSAGE = b"MSG evil.x 999 2\r\n{}\r\n"

# ---- with a real broker


def lost(a):
    return a.program.output.count("is lost")


def kept(*parts, seconds=0.8):
    """Whatever a client says to the broker, the service keeps its connection."""

    def attack(a):
        for part in parts:
            a.requester.send(part)
        a.sleep(seconds)
        a.check(lost(a) == 0, "the connection to the broker was lost")

    return attack


def published(subject, reply=b"", payload=b"{}"):
    return b"PUB %s%s %d\r\n%s\r\n" % (subject, b" " + reply if reply else b"", len(payload), payload)


def headed(block, payload=b"{}", subject=b"evil.x"):
    return b"HPUB %s nobody %d %d\r\n%s%s\r\n" % (subject, len(block), len(block) + len(payload), block, payload)


def forged(a):
    """Somebody hears the requests of others, and answers each a thousand times."""
    from harness import Client

    client = Client(a.siege.url)
    a.open.callback(client.close)

    async def answer(message):
        for _ in range(1000):
            await client.nc.publish(message.reply, b'"forged"')

    client.run(client.nc.subscribe("siege.asked", cb=answer))
    client.flush()
    for _ in range(20):
        answer_of = a.ask("x")
        a.check(answer_of and answer_of.code == FINE, f"answered {answer_of}")
    a.sleep(0.5)


def commands(*arguments, code=1):
    """`panini publish` and `request` say what is wrong and do not hang."""

    def attack(a):
        got, output = a.panini(*arguments, "--server", a.siege.url, timeout=15)
        a.check(got == code, f"ended with {got}: {output[-200:]}")
        a.check("Fatal" not in output, output[-300:])

    return attack


ANY = 'app.listen("evil.>", function(msg) return { n = #msg.tokens } end)'
EVERY_CONTROL = [bytes([n]) for n in (*range(1, 9), 0x0B, 0x0C, *range(0x0E, 0x20), 0x7F)]

ROWS = [
    speaks("pings-unread", flooding(b"PING\r\n" * 10000, 3), options='unsent_bytes_limit = "4MB"', seconds=3.2, must=Must(exits=(0, 1), grow=24), quick=True),
    speaks("pongs", flooding(b"PONG\r\n" * 5000)),
    speaks("oks", flooding(b"+OK\r\n" * 5000)),
    speaks("errors", flooding(b"-ERR 'Unknown Protocol Operation'\r\n" * 3000)),
    speaks("errors-all-different", flooding(b"".join(b"-ERR 'what %d'\r\n" % n for n in range(5000)))),
    speaks("errors-of-permission", flooding(b"".join(b"-ERR 'Permissions Violation for Publish to \"a%d\"'\r\n" % n for n in range(3000)))),
    speaks("errors-long", flooding(b"-ERR '" + b"x" * 3000 + b"'\r\n"), must=Must(exits=(0, 1), lines=150, kilobytes=400)),
    speaks("errors-with-controls", once(b"-ERR '\x1b[31mred\x07\x9b\xc2\x9b\xe2\x80\xae'\r\n" * 3)),
    speaks("infos", flooding(info() * 500)),
    speaks("infos-large", flooding(info(x="y" * 500_000)), must=Must(exits=(0, 1), grow=80)),
    speaks("info-of-fifty-thousand-servers", once(info(connect_urls=[f"10.0.{n >> 8}.{n & 255}:4222" for n in range(50_000)])), must=Must(exits=(0, 1), grow=80)),
    speaks("infos-of-new-servers", flooding(b"".join(info(connect_urls=[f"host{n}.example:4222" for n in range(m, m + 50)]) for m in range(0, 5000, 50))), must=Must(exits=(0, 1), lines=400, kilobytes=200)),
    speaks("info-of-wrong-types", once(info(max_payload="x", headers=7, connect_urls={"a": 1}, client_id=[], ldm="yes"))),
    speaks("info-without-room", once(info(max_payload=0))),
    speaks("info-negative", once(info(max_payload=-1, proto=-5))),
    speaks("info-depth", once(b"INFO " + b"[" * 100_000 + b"\r\n")),
    speaks("info-lame-duck", flooding(info(ldm=True) * 100)),
    speaks("unknown-subscriptions", flooding(MESSAGE * 2000)),
    speaks("message-of-negative-size", once(b"MSG evil.x 1 -1\r\n")),
    speaks("message-of-huge-size", once(b"MSG evil.x 1 99999999999\r\n" + b"x" * MB)),
    speaks("message-beyond-64-bits", once(b"MSG evil.x 1 18446744073709551618\r\n")),
    speaks("message-never-finished", flooding(b"x" * 65536)),
    speaks("headers-larger-than-the-message", once(b"HMSG evil.x 1 100 50\r\n" + b"x" * 200)),
    speaks("headers-of-sixty-megabytes", once(b"HMSG evil.x 1 60000000 60000002\r\nNATS/1.0\r\n" + b"X: y\r\n" * 2_000_000)),
    speaks("headers-that-are-none", once(b"".join(b"HMSG evil.x 1 %d %d\r\n%s{}\r\n" % (len(h), len(h) + 2, h)
        for h in (b"\r\n\r\n", b"garbage\r\n\r\n", b"NATS/1.0\r\n: x\r\n\r\n", b"NATS/1.0 99999999999999999999\r\n\r\n", b"\0" * 20)))),
    speaks("line-without-end", flooding(b"MSG " + b"x" * 65000)),
    speaks("random-bytes", once(bytes(range(256)) * 1000)),
    speaks("closes-at-once", closing, must=Must(exits=(0, 1), lines=300)),
    speaks("refuses-at-once", refusing, must=Must(exits=(0, 1), alive=False)),
    speaks("says-nothing", at_first(b"")),
    speaks("drips", drip),
    speaks("never-answers-pings", never_pong),
    speaks("endless-info", at_first_flooding(b"INFO {" + b" " * 65536)),
    speaks("speaks-http", at_first(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")),
    speaks("reads-nothing", unread, """
local text = ("x"):rep(500000)
app.timer_task(0.01, function() app.publish("a", text) end)
""", options='unsent_bytes_limit = "4MB"', must=Must(exits=(0, 1), grow=60)),
    speaks("reads-nothing-of-many", unread, """
local text = ("x"):rep(100000)
app.task(function() for i = 1, 2000 do app.spawn(function() app.publish("a", text) end) end end)
""", options='unsent_bytes_limit = "4MB"', must=Must(exits=(0, 1), grow=90, keep=90)),
    # ---- control characters and long subjects with a real broker (1, 8)
    Row("nats.client.control-in-subjects", ANY, attack=kept(*(published(b"evil.a" + c + b"b") for c in EVERY_CONTROL)), quick=True),
    Row("nats.client.control-in-replies", LISTEN, attack=kept(*(published(b"evil.x", b"r" + c) for c in EVERY_CONTROL)), quick=True),
    Row("nats.client.nul-in-subjects", ANY, attack=kept(published(b"evil.a\0b"), published(b"evil.x", b"r\0"))),
    Row("nats.client.bytes-in-subjects", ANY, attack=kept(published(b"evil.\xff\xfe"), published(b"evil.x", b"\xc3\x28"), published("evil.\u202e\u2028".encode()))),
    Row("nats.client.reply-of-4090-bytes", LISTEN + ' on("e", function() return nil, "no" end)',
        attack=kept(published(b"evil.x", b"r" * 4000), published(b"evil.e", b"r" * 4060), published(b"evil.x", b"r" * 4075), published(b"evil.e", b"r" * 4075))),
    Row("nats.client.publish-of-long-subjects", """
on("x", function()
    for _, size in ipairs{ 1000, 4000, 4080, 4090, 4096, 5000, 65000, 2000000 } do
        local done, sent, err = pcall(app.publish, "p." .. ("x"):rep(size), 1)
        assert(not done or sent or err.code == "too_large", size)
        local done, data, err = pcall(app.request, "p." .. ("x"):rep(size), 1, { timeout = 0.5 })
        assert(not done or data == nil)
        pcall(app.publish, "p.x", 1, { reply_to = "r." .. ("x"):rep(size), headers = { a = "b" } })
    end
    return app.flush() and "flushed"
end)
""", attack=lambda a: (a.ask_for(Ask("x", FINE)), kept()(a))),
    Row("nats.client.listen-to-long-subjects", """
on("x", function()
    for _, size in ipairs{ 1000, 4000, 4090, 5000, 65000 } do pcall(app.listen, "p." .. ("x"):rep(size), function() end) end
    return app.flush() and "flushed"
end)
""", attack=lambda a: (a.ask_for(Ask("x", FINE)), kept()(a))),
    Row("nats.client.subjects-that-forge-lines", """
on("x", function()
    for _, subject in ipairs{ "a b", "a\\r\\nPUB x 1", "a\\tb", "a\\nb", "", ".", "a..b", "a.", "\\0", "a\\0b", "\\r" } do
        for _, call in ipairs{ app.publish, app.request } do pcall(call, subject, 1, { timeout = 0.1 }) end
        pcall(app.publish, "a", 1, { reply_to = subject })
        pcall(app.publish, "a", 1, { headers = { [subject] = subject } })
        pcall(app.listen, subject, function() end)
        pcall(app.listen, "evil.q", { queue = subject }, function() end)
    end
    return app.flush() and "flushed"
end)
""", attack=lambda a: (a.ask_for(Ask("x", FINE)), kept()(a)), must=Must(lines=200)),
    Row("nats.client.headers-that-are-none", LISTEN, attack=kept(*(headed(block) for block in (
        b"NATS/1.0\r\nno colon\r\n\r\n", b"NATS/1.0\r\n: x\r\n\r\n", b"NATS/1.0\r\nX\0Y: z\r\n\r\n", b"NATS/1.0\r\n\xff: \xfe\r\n\r\n", b"garbage\r\n\r\n",
        b"NATS/1.0 503\r\n\r\n", b"NATS/1.0", b"NATS/1.0\r\n" + b"X: y\r\n" * 9000 + b"\r\n"))), must=Must(lines=60)),
    Row("nats.client.headers-by-the-hundred-thousand", 'on("x", function(msg) local n = 0 for k in pairs(msg.headers) do n = n + 1 end return n end)',
        attack=kept(*[headed(b"NATS/1.0\r\n" + b"".join(b"X%d: y\r\n" % n for n in range(60_000)) + b"\r\n")] * 5, seconds=1.5), must=Must(grow=80, keep=80)),
    Row("nats.client.answers-that-fail-in-error-headers", """
on("x", function() return nil, { code = 404, message = "a\\r\\nX: y\\0\\27[31m\\xff" } end)
on("y", function() return nil, { code = 404, message = ("x\\r\\n"):rep(1000000) } end)
""", attack=(Ask("x", 404), Ask("y", 404)), must=Must(grow=80, keep=80)),
    Row("nats.client.forged-answers", 'on("x", function() return (app.request("siege.asked", {}, { timeout = 3 })) end)', attack=forged),
    Row("nats.client.services-protocol-flood", LISTEN, attack=kept(
        *(b"".join(published(b"$SRV.%s" % kind, b"nobody", b"") for _ in range(2000)) for kind in (b"PING", b"INFO", b"STATS", b"PING.evil")), seconds=1.5)),
    Row("nats.client.payload-beyond-the-most", 'on("x", function() return ("x"):rep(5000000) end)', attack=(Ask("x", SOME), Ask("x", SOME))),
    Row("nats.client.command-publishes-long-subject", LISTEN, attack=commands("publish", "p." + "x" * 5000, "x")),
    Row("nats.client.command-requests-long-subject", LISTEN, attack=commands("request", "p." + "x" * 5000, "x", "--timeout", "2")),
]
