"""Fetch: a web server that is hostile to whoever asks it."""

import gzip
import time

from peer import CHUNKED, Peer, chunk, reply

from .rows import ENDED, FINE, Must, Row

HANDLERS = """
on("x", function(msg)
    local r, err = app.http.fetch(msg.data.url, msg.data.options)
    if not r then return { code = err.code } end
    return { status = r.status, size = #(r.body or "") }
end)
on("many", function(msg)
    local fs = {}
    for i = 1, msg.data.count do fs[i] = function() return (app.http.fetch(msg.data.url, msg.data.options)) end end
    local results = app.wait_all(fs)
    return { done = true }
end)
on("stream", function(msg)
    local n = 0
    local r, err = app.http.fetch(msg.data.url, { timeout = 3, max_body = "1GB", stream = function(piece) n = n + #piece app.sleep(0.01) end })
    return { code = err and err.code, read = n }
end)
on("raise", function(msg)
    for _, url in ipairs{ "http://a\\r\\nX: y/", "http://a/\\r\\nX: y", "http://a b/", "file:///etc/passwd", "gopher://a/", "http://", "http://a:99999/",
        "http://[::1", "http://a\\0b/", ("http://" .. ("a"):rep(1e6)) } do
        local done, r, err = pcall(app.http.fetch, url, { timeout = 1 })
        assert(not done or r == nil, url)
    end
    for _, options in ipairs{ { method = "GET / HTTP/1.1\\r\\nX: y" }, { headers = { ["a\\r\\nb"] = "c" } }, { headers = { a = "b\\r\\nc: d" } },
        { headers = { host = "a\\r\\nb" } }, { headers = { ["content-length"] = "5" }, body = "x" }, { headers = { a = "b\\0c" } } } do
        local done, r, err = pcall(app.http.fetch, msg.data.url, options)
        assert(not done or r == nil or r.status == 200)
    end
    return "refused"
end)
"""
MUST = Must(lines=60)


def asked(name, answer, subject="x", options=b'{"timeout":2}', count=1, times=1, code=FINE, must=MUST, holds=b"", **more):
    """The service asks a peer that answers so: bytes, None for an end, or a function that gets the socket."""

    def attack(a):
        peer = Peer(answer if callable(answer) else lambda request: answer)
        a.open.callback(peer.close)
        for _ in range(times):
            body = b'{"url":"%s/","count":%d,"options":%s}' % (peer.url.encode(), count, options)
            got = a.ask(subject, body)
            a.check(got and got.code == code, f"answered {got}")
            a.check(holds in got.payload, lambda: f"{got.payload[:100]!r} has no {holds!r}")

    return Row(f"fetch.{name}", HANDLERS, attack=attack, must=must, cpu=more.pop("cpu", 0.5), **more)


def endless(opening, piece, seconds=8):
    """A peer that goes on with the same for so long, to whoever still listens."""

    def answer(request):
        def send(connection):
            connection.sendall(opening)
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                connection.sendall(piece)
            return None

        return send

    return answer


def slowly(opening, piece, every=0.1, seconds=20):
    def answer(request):
        def send(connection):
            connection.sendall(opening)
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                connection.sendall(piece)
                time.sleep(every)
            return None

        return send

    return answer


def silence(request):
    def send(connection):
        time.sleep(20)
        return None

    return send


def surplus(request):
    """An answer, and another one that nobody has asked for: the next request must not get it."""
    return reply(b"right") + reply(b"forged answer of another size")


def redirects(where):
    return lambda request: reply(b"", "302 Found", Location=where)


OK = b"HTTP/1.1 200 OK\r\n"
ERROR = b'"code"'

ROWS = [
    asked("endless.status-line", endless(b"HTTP/1.1 200 ", b"x" * 65536), holds=ERROR),
    asked("endless.head", endless(OK, b"X: " + b"y" * 1000 + b"\r\n"), holds=ERROR),
    asked("endless.one-field", endless(OK + b"X: ", b"y" * 65536), holds=ERROR),
    asked("endless.interim-answers", endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 500), holds=ERROR),
    asked("endless.chunk-extension", endless(CHUNKED + b"1;", b"x" * 65536), holds=ERROR),
    asked("endless.chunk-size", endless(CHUNKED, b"0" * 65536), holds=ERROR),
    asked("endless.trailers", endless(CHUNKED + b"0\r\n", b"X: " + b"y" * 1000 + b"\r\n"), holds=ERROR),
    asked("endless.body", endless(OK + b"\r\n", b"x" * 65536), holds=ERROR),
    asked("endless.chunks", endless(CHUNKED, chunk(b"x" * 65536)), holds=ERROR),
    asked("endless.tiny-chunks", endless(CHUNKED, chunk(b"x") * 5000), holds=ERROR, cpu=1),
    asked("endless.blank-lines", endless(b"", b"\r\n" * 5000), holds=ERROR),
    asked("endless.many-at-once", endless(CHUNKED, chunk(b"x" * 65536)), "many", count=20, options=b'{"timeout":2,"max_body":1000000}', cpu=1,
        must=Must(grow=120, keep=100)),
    asked("slow.head", slowly(OK, b"X: y\r\n"), holds=b"timeout"),
    asked("slow.body", slowly(OK + b"Content-Length: 100000\r\n\r\n", b"x"), holds=b"timeout"),
    asked("slow.silence", silence, holds=b"timeout"),
    asked("slow.hundreds-of-silence", silence, "many", count=300, options=b'{"timeout":1.5}'),
    asked("body.gzip-bomb", reply(gzip.compress(b"\0" * (200 << 20)), Content_Encoding="gzip"), holds=b"too_large", cpu=1, quick=True),
    asked("body.gzip-bomb-in-chunks", OK + b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(gzip.compress(b"\0" * (100 << 20))) + chunk(b""),
        holds=b"too_large", cpu=1),
    asked("body.gzip-of-empty-members", reply(gzip.compress(b"") * 200_000, Content_Encoding="gzip"), cpu=1),
    asked("body.gzip-truncated", reply(gzip.compress(b"x" * 100_000)[:-30], Content_Encoding="gzip"), holds=ERROR),
    asked("body.gzip-nested", reply(gzip.compress(gzip.compress(b"x" * 1_000_000)), Content_Encoding="gzip, gzip")),
    asked("body.unknown-coding", reply(b"x" * 1000, Content_Encoding="br")),
    asked("body.too-large-by-length", OK + b"Content-Length: 99999999999\r\n\r\nx", holds=b"too_large"),
    asked("body.shorter-than-said", lambda request: lambda connection: connection.sendall(OK + b"Content-Length: 1000\r\n\r\nx"), holds=ERROR),
    asked("body.streamed-without-end", endless(CHUNKED, chunk(b"x" * 65536)), "stream", cpu=1),
    asked("head.two-lengths", OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx", holds=ERROR),
    asked("head.length-and-chunks", OK + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", holds=b""),
    asked("head.length-negative", OK + b"Content-Length: -1\r\n\r\nx", holds=ERROR),
    asked("head.length-beyond-64-bits", OK + b"Content-Length: 18446744073709551617\r\n\r\nx", holds=ERROR),
    asked("head.chunk-beyond-64-bits", CHUNKED + b"10000000000000001\r\nx", holds=ERROR),
    asked("head.status-that-is-none", b"HTTP/1.1 99999 X\r\nContent-Length: 0\r\n\r\n", holds=ERROR),
    asked("head.version-that-is-none", b"HTTP/7.1 200 OK\r\nContent-Length: 0\r\n\r\n", holds=ERROR),
    asked("head.not-http", b"220 mail.example ESMTP\r\n" * 10, holds=ERROR),
    asked("head.nul", OK + b"X: a\0b\r\nContent-Length: 0\r\n\r\n", holds=b""),
    asked("head.ten-thousand-fields", OK + b"X: y\r\n" * 10_000 + b"Content-Length: 0\r\n\r\n", holds=b""),
    asked("head.switching", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n" + b"x" * 1000, holds=b""),
    asked("surplus.second-answer", surplus, times=5, holds=b'"size":5', quick=True),
    asked("closed-at-once", None, times=10, holds=ERROR),
    asked("redirect.loop", redirects("/again"), times=3, holds=b"redirects"),
    asked("redirect.to-file", redirects("file:///etc/passwd"), holds=b""),
    asked("redirect.to-a-line-break", redirects("http://a/\x0bX"), holds=b""),
    asked("redirect.long", redirects("/" + "x" * 60000), holds=b""),
    asked("redirect.to-a-denied-host", redirects("http://localhost.:9/"), holds=b"denied",
        flags=("--untrusted=evil", "--allow-listen", "evil.>", "--allow-net", "127.0.0.1")),
    asked("injection", reply(b"x"), "raise", must=Must(lines=60)),
]
