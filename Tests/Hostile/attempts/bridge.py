"""The bridge: clients of a WebSocket that name subjects of the broker."""

import json

from .rows import Must, Row
from .wire import TEXT, frame

HANDLERS = """
app.http.nats_bridge("/ws", { allow = { "prices.>", "p.>" }, max_subscriptions = 50 })
app.http.nats_bridge("/all", { allow = { ">" }, max_subscriptions = 20000, max_message = "1MB" })
app.listen("evil.echo", function(msg) return msg.data end)
"""


def row(name, attack, **more):
    return Row(f"bridge.{name}", more.pop("script", HANDLERS), web=True, attack=attack, **more)


def command(*subjects, action="subscribe"):
    return frame(TEXT, json.dumps({"action": action, "subjects": list(subjects)}, ensure_ascii=False, separators=(",", ":")).encode())


def said(path, data, times=1, seconds=2, sockets=1):
    def attack(a):
        for ws in [a.websocket(path) for _ in range(sockets)]:
            a.push(ws.socket, data * times, seconds)
        a.sleep(1)

    return attack


def refused(*subjects, path="/ws"):
    """Each of them is refused, and nothing of it reaches the broker."""

    def attack(a):
        for subject in subjects:
            ws = a.websocket(path)
            ws.send(command(subject))
            ws.socket.settimeout(5)
            answer = ws.receive()
            a.check(answer is not None and answer[0] in (TEXT, 8), f"no answer to {subject!r}")
            a.check(answer[0] == 8 or json.loads(answer[1])["success"] is False, f"accepted: {subject!r}")
        a.check(lost(a) == 0, "the connection to the broker was lost")

    return attack


def lost(a):
    return a.program.output.count("connection to the broker is lost")


def keeps_the_connection(path, data):
    """Whatever is asked for, it is the asker's own connection that suffers."""

    def attack(a):
        ws = a.websocket(path)
        a.push(ws.socket, data, 3)
        a.sleep(0.7)
        a.check(lost(a) == 0, "the connection to the broker was lost")

    return attack


def slow_viewers(count, size, messages, **options):
    def attack(a):
        for _ in range(count):
            ws = a.websocket("/ws")
            ws.send(command("prices.x"))
            ws.receive()
        for _ in range(messages):
            if a.over.is_set():
                return
            a.requester.publish("prices.x", b"x" * size)
        a.sleep(1.5)

    return attack


def subscribed_and_left(a):
    for _ in range(150):
        ws = a.websocket("/ws")
        ws.send(b"".join(command(f"prices.{n}") for n in range(20)))
        ws.socket.close()
    a.sleep(0.5)


def flap(a):
    ws = a.websocket("/ws")
    a.flood(ws.socket, (command("prices.a", "prices.b") + command("prices.a", "prices.b", action="unsubscribe")) * 200, 2)


# 60 KB: as much as one command may have.
MANY = command(*(f"p.{n:x}" for n in range(6600)))

ROWS = [
    row("subjects.thousands", said("/ws", MANY, 10), cpu=0.1, quick=True),
    row("subjects.thousands-equal", said("/ws", command(*["p.x"] * 9200), 10), cpu=0.1),
    row("subjects.thousands-allowed", said("/all", command(*(f"p{n:x}" for n in range(9200))), 6), cpu=0.1, must=Must(grow=80, keep=80)),
    row("subjects.thousands-to-leave", said("/ws", command(*(f"p.{n:x}" for n in range(6600)), action="unsubscribe"), 10), cpu=0.1),
    row("subjects.many-sockets", said("/ws", MANY, 3, sockets=8), cpu=0.1),
    row("subjects.long", keeps_the_connection("/all", command("p" + "x" * 4090)), quick=True),
    row("subjects.very-long", keeps_the_connection("/all", command("p" + "x" * 60000))),
    row("subjects.of-many-tokens", keeps_the_connection("/all", command(".".join(["p"] * 2000)))),
    row("subjects.control", refused("prices.\0", "prices.\x01", "prices.\r\nPUB x 1\r\n", "prices.\n", "prices.\tx", "prices. x", "prices.\x1b")),
    row("subjects.line-break-forges", keeps_the_connection("/all", command("p x\r\nPUB evil.echo 2\r\n{}\r\nSUB a 7"))),
    row("subjects.beyond-allow", refused(">", "*", "*.>", "prices", "prices.", ".prices.x", "prices..x", "other", "Prices.x", "prices.>.x")),
    row("subjects.grapheme", refused("prices\u0600.x", "prices\u0301.x", "pric\u200des.x", "price\u0073\u0301.x")),
    row("subjects.broken-text", said("/ws", frame(TEXT, b'{"subjects":["prices.\xff"]}'))),
    row("subjects.lone-surrogate", said("/ws", frame(TEXT, b'{"subjects":["prices.\\ud800"]}'))),
    row("subjects.beyond-the-most", said("/ws", b"".join(command(f"prices.{n}") for n in range(2000)))),
    row("commands.json-depth", said("/ws", frame(TEXT, b"[" * 60000), 30)),
    row("commands.json-broken", said("/ws", frame(TEXT, b"{broken") * 2000, 3)),
    row("commands.not-strings", said("/ws", frame(TEXT, b'{"subjects":[1,null,{},[],true,1e999]}') * 500)),
    row("commands.unknown", said("/ws", frame(TEXT, b'{"action":"publish","subjects":["prices.x"],"data":1}') * 500)),
    row("commands.flap", flap, must=Must(grow=60)),
    row("commands.tiny", said("/ws", frame(TEXT, b"{}") * 20000, 2)),
    row("commands.too-large", said("/ws", frame(TEXT, b'{"subjects":["' + b"x" * 70000 + b'"]}'))),
    row("commands.unread-answers", said("/ws", command("prices.x") * 30000, 1, 3)),
    row("viewers.slow", slow_viewers(20, 60_000, 300), must=Must(grow=80)),
    row("viewers.slow-many", slow_viewers(200, 30_000, 120), options='web_memory = "64MB"', must=Must(grow=130)),
    row("viewers.subscribed-and-left", subscribed_and_left),
]
