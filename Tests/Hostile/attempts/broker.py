"""The embedded broker: clients that do not read, and clients that say what no client should."""

import socket
import time

from .rows import Must, Row

CONNECT = b'CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true}\r\n'
MUST = Must(grow=110, keep=60, exits=(0,))
MB = 1 << 20


def row(name, attack, must=MUST, **more):
    return Row(f"broker.{name}", program="broker", attack=attack, must=must, cpu=0.1, **more)


def flood(name, data, connect=CONNECT, seconds=2, connections=1, **more):
    """The same again and again; nothing is read."""

    def attack(a):
        open_ones = [a.connect(receive=4096) for _ in range(connections)]
        for connection in open_ones:
            connection.sendall(connect)
        for connection in open_ones:
            a.flood(connection, data, seconds / connections)
        a.sleep(0.3)

    return row(f"flood.{name}", attack, **more)


def said(name, *parts, seconds=0.8, **more):
    def attack(a):
        for part in parts:
            a.push(a.connect(), part, 3)
        a.sleep(seconds)

    return row(name, attack, **more)


def many(count, data=b"", seconds=1.5):
    def attack(a):
        for _ in range(count):
            connection = a.connect()
            if data:
                a.push(connection, data, 1)
        a.sleep(seconds)

    return attack


def slow_subscribers(count, size, messages):
    def attack(a):
        for _ in range(count):
            connection = a.connect(receive=4096)
            connection.sendall(CONNECT + b"SUB a 1\r\n")
        a.sleep(0.2)
        sender = a.connect()
        a.push(sender, CONNECT + (b"PUB a %d\r\n%s\r\n" % (size, b"x" * size)) * messages, 8)
        a.sleep(0.5)

    return attack


def across_reads(a):
    """No read ends where a command does."""
    connection = a.connect()
    connection.sendall(CONNECT)
    a.straddle(connection, b"PUB a 1000\r\n" + b"x" * 1000 + b"\r\n")


def control_characters(a):
    """A subject that holds them reaches its subscriber, and nobody is closed for it."""
    listener = a.connect()
    listener.sendall(CONNECT + b"SUB > 1\r\nPING\r\n")
    a.read(listener, 5, b"PONG\r\n")
    sender = a.connect()
    for byte in (0, 1, 0x0B, 0x1B, 0x7F):
        sender.sendall(CONNECT + b"PUB a%cb 2\r\n{}\r\n" % byte)
    sender.sendall(b"PUB end 2\r\n{}\r\n")
    a.check(b"MSG end " in a.read(listener, 5, b"MSG end "), "what came after does not arrive")


def opened_and_closed(a):
    for _ in range(2000):
        connection = socket.create_connection(("127.0.0.1", a.port), timeout=5)
        connection.sendall(CONNECT + b"SUB a 1\r\n")
        connection.close()


def drip(a):
    connections = [a.connect() for _ in range(50)]
    until = time.monotonic() + 2
    while time.monotonic() < until:
        for connection in connections:
            a.push(connection, b"P", 1)
        a.sleep(0.05)


def flap(a):
    connection = a.connect()
    connection.sendall(CONNECT)
    a.flood(connection, b"".join(b"SUB a.%d %d\r\nUNSUB %d\r\n" % (n, n, n) for n in range(1000)), 2)


SUBSCRIPTIONS = b"".join(b"SUB a.%d.> %d\r\n" % (n, n) for n in range(50_000))
WILD = b"".join(b"SUB %s %d\r\n" % (b".".join(b"*" if n >> bit & 1 else b"a" for bit in range(14)), n) for n in range(1 << 14))

ROWS = [
    flood("pings", b"PING\r\n" * 5000, quick=True),
    flood("errors", b"NONSENSE\r\n" * 3000),
    flood("errors-pedantic", b"SUB a..b 1\r\n" * 3000, b'CONNECT {"verbose":false,"pedantic":true}\r\n'),
    flood("oks", b"SUB a 1\r\n" * 3000, b'CONNECT {"verbose":true}\r\n'),
    flood("oks-of-pings", b"PING\r\nPUB a 0\r\n\r\n" * 3000, b'CONNECT {"verbose":true}\r\n'),
    flood("no-responders", b"PUB nobody r 0\r\n\r\n" * 3000, CONNECT + b"SUB r 1\r\n", quick=True),
    flood("messages-to-itself", b"PUB a 1000\r\n" + b"x" * 1000 + b"\r\n", CONNECT + b"SUB a 1\r\n"),
    flood("pings-on-many", b"PING\r\n" * 5000, connections=8),
    flood("connects", CONNECT * 500),
    flood("unsubscribes", b"UNSUB 1\r\n" * 5000),
    flood("pongs", b"PONG\r\n" * 5000),
    flood("infos", b"INFO {}\r\n" * 3000),
    row("slow.subscribers", slow_subscribers(2, 60_000, 3000), must=Must(grow=190, keep=80)),
    row("slow.many-subscribers", slow_subscribers(30, 1000, 100_000), must=Must(grow=400, keep=120)),
    row("slow.wildcard-subscribers", slow_subscribers(4, 100, 300_000), must=Must(grow=340, keep=120)),
    row("subjects.control", control_characters),
    said("subjects.of-a-megabyte", CONNECT + b"PUB " + b"x" * MB + b" 1\r\nx\r\n"),
    said("subjects.of-many-tokens", CONNECT + b"SUB " + b".".join([b"*"] * 2000) + b" 1\r\nPUB " + b".".join([b"a"] * 2000) + b" 0\r\n\r\n"),
    said("subscriptions.fifty-thousand", CONNECT + SUBSCRIPTIONS, must=Must(grow=150, keep=100)),
    said("subscriptions.wild", CONNECT + WILD + (b"PUB " + b".".join([b"a"] * 14) + b" 0\r\n\r\n") * 50, must=Must(grow=150, keep=120)),
    said("subscriptions.same", CONNECT + b"SUB a 1\r\n" * 50_000),
    said("subscriptions.many-on-one-subject", CONNECT + b"".join(b"SUB a %d\r\n" % n for n in range(2000)) + b"PUB a 1000\r\n" + b"x" * 1000 + b"\r\n"),
    row("subscriptions.flap", flap),
    row("commands-across-reads", across_reads, must=Must(grow=24, keep=16)),
    said("malformed.sizes", *(CONNECT + b"PUB a %s\r\nx\r\n" % size for size in (b"-1", b"99999999999", b"18446744073709551617", b"x", b"", b"1 1 1 1"))),
    said("malformed.headers", *(CONNECT + b"HPUB a %s\r\nxxxx\r\n" % sizes for sizes in (b"10 4", b"-1 4", b"4", b"4 99999999999"))),
    said("malformed.connect", b"CONNECT {broken\r\n", b"CONNECT " + b"[" * 100_000 + b"\r\n", b"CONNECT\r\n", b'CONNECT {"verbose":"x"}\r\n', b"CONNECT {" + b" " * MB),
    said("malformed.line-without-end", CONNECT + b"SUB " + b"x" * MB),
    said("malformed.random-bytes", bytes(range(256)) * 4000),
    said("malformed.http", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    said("malformed.queue", CONNECT + b"SUB a q q q 1\r\nSUB a >.* 1\r\nUNSUB x y z\r\nSUB\r\nUNSUB\r\n"),
    row("unfinished.payloads", many(150, CONNECT + b"PUB a 1000000\r\n" + b"x" * 999_000), must=Must(grow=200, keep=60)),
    row("unfinished.handshakes", many(500)),
    row("unfinished.drip", drip),
    row("connections.many", many(600, CONNECT + b"SUB a 1\r\n")),
    row("connections.opened-and-closed", opened_and_closed),
]
