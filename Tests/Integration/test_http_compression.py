"""Compression both ways: what is compressed for whom, and what arrives compressed."""

import gzip
import http.client
import json
import socket
import subprocess
import zlib

import pytest

from harness import PATIENCE, wait_until
from test_http import Web, assert_failure, web  # noqa: F401 (a fixture)

SCRIPT = """
local text = string.rep("a line of text that repeats itself\\n", 200)
app.http.get("/text", function() return text end)
app.http.get("/short", function() return "short" end)
app.http.get("/json", function() return { text = text } end)
app.http.get("/image", function() return panini.response{ body = text, headers = { ["content-type"] = "image/png" } } end)
app.http.get("/own", function() return panini.response{ text = text, headers = { ["content-encoding"] = "x-own" } } end)
app.http.get("/tagged", function() return panini.response{ text = text, headers = { ETag = '"tag"', Vary = "Cookie" } } end)
app.http.get("/missing", function() return nil, { code = 404, message = text } end)
app.http.get("/stream", function() return panini.response{ headers = { ["content-type"] = "text/plain" }, stream = function(write)
    write("first\\n")
    app.request("gate", {})
    for i = 1, 100 do write("line " .. i .. "\\n") end
end } end)
app.http.get("/held", function() return panini.response{ headers = { ["content-type"] = "text/plain" }, stream = function(write)
    while write("on\\n") do app.sleep(0.2) end
end } end)
app.http.get("/broken", function() return panini.response{ headers = { ["content-type"] = "text/plain" }, stream = function(write)
    write("first\\n") error("broken") end } end)
app.http.get("/events", function() return panini.response{ events = function(send)
    send{ data = "one" }
    app.request("gate", {})
    send{ data = "two" }
end } end)
app.http.post("/echo", { max_body = 10000 }, function(req)
    return { body = req.body, size = #req.body, encoding = req.headers["content-encoding"], length = req.headers["content-length"] }
end)
app.http.post("/json", function(req) return req.json() end)
app.http.static("/files", "files", {})
"""
TEXT = b"a line of text that repeats itself\n" * 200
FILES = {"files/a.txt": TEXT.decode(), "files/b.png": TEXT.decode(), "files/small.txt": "small", "files/large.txt": "x" * (3 << 20)}


@pytest.fixture
def served(service):
    def start(options=""):
        return Web(service(SCRIPT, options=f"web_server = true, web_port = 0{options}", files=FILES))

    return start


def test_answers(served):
    client = served()
    for path in ("/text", "/json", "/missing"):
        plain = client.get(path)
        packed = client.get(path, {"Accept-Encoding": "br, gzip, deflate"})
        assert "content-encoding" not in plain.headers
        assert packed.headers["content-encoding"] == "gzip" and packed.status == plain.status
        assert gzip.decompress(packed.body) == plain.body and len(packed.body) < len(plain.body) / 5
        assert int(packed.headers["content-length"]) == len(packed.body)
        assert plain.headers["vary"] == packed.headers["vary"] == "accept-encoding"
    assert zlib.decompress(client.get("/text", {"Accept-Encoding": "deflate"}).body) == TEXT
    assert "content-encoding" not in client.get("/text", {"Accept-Encoding": "gzip;q=0, br"}).headers
    head = client.ask("HEAD", "/text", headers={"Accept-Encoding": "gzip"})
    assert head.headers["content-encoding"] == "gzip" and head.body == b""
    for path in ("/short", "/image", "/own"):
        answer = client.get(path, {"Accept-Encoding": "gzip"})
        assert answer.headers.get("content-encoding") in (None, "x-own") and "vary" not in answer.headers, path
    answer = client.get("/tagged", {"Accept-Encoding": "gzip"})
    assert answer.headers["etag"] == 'W/"tag"' and answer.headers.get_all("vary") == ["Cookie", "accept-encoding"]
    assert client.get("/tagged").headers["etag"] == '"tag"'


def test_it_can_be_switched_off(served):
    answer = served(", web_compression = false").get("/text", {"Accept-Encoding": "gzip"})
    assert answer.body == TEXT and "vary" not in answer.headers


def test_curl_reads_it(served):
    client = served()
    result = subprocess.run(
        ["curl", "-sS", "--compressed", f"http://127.0.0.1:{client.port}/text"], capture_output=True, check=True, timeout=PATIENCE
    )
    assert result.stdout == TEXT


def read_until(response, decoder, wanted):
    text = b""
    while wanted not in text:
        part = response.read1(65536)
        assert part, text
        text += decoder.decompress(part)
    return text


@pytest.mark.parametrize("path, first, second", [("/stream", b"first\n", b"line 100\n"), ("/events", b"data: one\n\n", b"data: two\n\n")])
def test_streams_can_be_read_as_they_come(served, gate, path, first, second):
    client = served()
    connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=PATIENCE)
    connection.request("GET", path, headers={"Accept-Encoding": "gzip"})
    response = connection.getresponse()
    assert response.headers["content-encoding"] == "gzip"
    decoder = zlib.decompressobj(wbits=31)
    # The piece is there before the stream goes on.
    assert read_until(response, decoder, first) == first
    gate.open(gate.arrived())
    assert read_until(response, decoder, second).endswith(second)
    while part := response.read1(65536):
        decoder.decompress(part)
    assert decoder.eof
    connection.close()


def test_a_broken_stream_has_no_end(served):
    client = served()
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        client.get("/broken", {"Accept-Encoding": "gzip"})


def test_files(served):
    client = served()
    packed = client.get("/files/a.txt", {"Accept-Encoding": "gzip"})
    plain = client.get("/files/a.txt")
    assert gzip.decompress(packed.body) == plain.body == TEXT
    assert packed.headers["etag"] == "W/" + plain.headers["etag"] and plain.headers["vary"] == "accept-encoding"
    # Known by its tag, weak or strong.
    for tag in (packed.headers["etag"], plain.headers["etag"]):
        answer = client.get("/files/a.txt", {"Accept-Encoding": "gzip", "If-None-Match": tag})
        assert answer.status == 304 and answer.headers["vary"] == "accept-encoding" and answer.body == b""
    # Ranges count the bytes of the file.
    part = client.get("/files/a.txt", {"Accept-Encoding": "gzip", "Range": "bytes=5-14"})
    assert part.status == 206 and part.body == TEXT[5:15] and "content-encoding" not in part.headers
    part = client.get("/files/a.txt", {"Range": "bytes=5-14", "If-Range": packed.headers["etag"]})
    assert part.status == 200 and part.body == TEXT
    for name, size in (("b.png", len(TEXT)), ("small.txt", 5), ("large.txt", 3 << 20)):
        answer = client.get(f"/files/{name}", {"Accept-Encoding": "gzip"})
        assert "content-encoding" not in answer.headers and len(answer.body) == size


def test_request_bodies(served):
    client = served()
    text = b"some text " * 500
    for name, body in (
        ("gzip", gzip.compress(text)), ("GZip", gzip.compress(text)), ("x-gzip", gzip.compress(text)), ("deflate", zlib.compress(text)),
        ("identity", text),
    ):  # fmt: skip
        answer = client.post("/echo", body, {"Content-Encoding": name}).json
        assert answer["body"] == text.decode(), name
        assert name == "identity" or "encoding" not in answer and "length" not in answer
    assert client.post("/json", gzip.compress(b'{"a": 1}'), {"Content-Encoding": "gzip"}).json == {"a": 1}


def test_bad_request_bodies(served):
    client = served()
    answer = client.post("/echo", b"x", {"Content-Encoding": "br"})
    assert_failure(answer, 415)
    assert answer.headers["accept-encoding"] == "gzip, deflate"
    assert_failure(client.post("/echo", b"x", {"Content-Encoding": "gzip, gzip"}), 415)
    assert_failure(client.post("/echo", b"no gzip", {"Content-Encoding": "gzip"}), 400)
    assert_failure(client.post("/echo", gzip.compress(b"x" * 1000)[:-4], {"Content-Encoding": "gzip"}), 400)
    assert client.post("/echo", b"", {"Content-Encoding": "gzip"}).json["size"] == 0
    # The limit is that of the decoded body: exactly so much, and one more.
    assert client.post("/echo", gzip.compress(b"x" * 10000), {"Content-Encoding": "gzip"}).json["size"] == 10000
    assert_failure(client.post("/echo", gzip.compress(b"x" * 10001), {"Content-Encoding": "gzip"}), 413)


def test_a_bomb_is_not_unpacked(served):
    client = served()
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join(packer.compress(b"\0" * (1 << 20)) for _ in range(9)) + packer.flush()
    assert len(bomb) < 10000
    assert_failure(client.post("/echo", bomb, {"Content-Encoding": "gzip"}), 413)
    assert client.get("/short").text == "short"


def test_streams_beyond_the_limit_go_out_as_they_are(served):
    web = served()
    held = []
    try:
        kinds = []
        for _ in range(260):
            connection = socket.create_connection(("127.0.0.1", web.port), timeout=PATIENCE)
            held.append(connection)
            connection.sendall(b"GET /held HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n")
            head = b""
            while b"\r\n\r\n" not in head:
                head += connection.recv(65536)
            kinds.append(b"content-encoding: gzip" in head)
        assert kinds == [True] * 256 + [False] * 4
        for connection in held[:10]:
            connection.close()

        def is_compressed():
            connection = socket.create_connection(("127.0.0.1", web.port), timeout=PATIENCE)
            held.append(connection)
            connection.sendall(b"GET /held HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n")
            return b"content-encoding: gzip" in connection.recv(65536)

        # Who goes makes room for others.
        wait_until(is_compressed, "there is room again")
    finally:
        for connection in held:
            connection.close()
