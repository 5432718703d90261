"""Bytes of requests that are no text: the client's fault, unless the script asks for bytes."""

import json

import pytest

from test_http import web  # noqa: F401  the fixture
from test_http_malformed import exchange, statuses

SCRIPT = """
    app.http.get("/path/{name}", function(req) return { name = req.params.name } end)
    app.http.get("/rest/{path...}", function(req) return { path = req.path } end)
    app.http.get("/query", function(req) return { value = req.query.a } end)
    app.http.get("/all", function(req) return req.query_all end)
    app.http.get("/header", function(req) return { value = req.headers["x-a"], host = req.headers.host } end)
    app.http.get("/headers", function(req) return req.headers end)
    app.http.get("/cookies", function(req) return req.cookies end)
    app.http.get("/others", function(req) return { host = req.headers.host, a = req.cookies.a } end)
    app.http.post("/form", function(req) return (req.form()) end)
    app.http.post("/json", function(req) return req.json() end)
    app.http.get("/none", function(req) return { ok = true } end)
    app.http.get("/caught", function(req)
        local ok, err = pcall(function() return req.query.a end)
        return { ok = ok, code = err.code }
    end)
    app.http.get("/own", function(req) return { mine = "\\xff" } end)
    app.http.get("/bytes/{name}", { bytes = true }, function(req)
        return { #req.params.name, #req.path, #(req.query.a or ""), #(req.headers["x-a"] or "") }
    end)
    app.http.post("/bytes", { bytes = true }, function(req) return { #req.form().a } end)
    app.http.get("/bytes-back/{name}", { bytes = true }, function(req) return { req.params.name } end)
    app.http.get("/published", function(req) app.publish("seen", { a = req.query.a }) return { ok = true } end)
"""


def get(client, target, *fields, method=b"GET", body=b""):
    data = method + b" " + target + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + b"".join(f + b"\r\n" for f in fields)
    if body:
        data += b"Content-Length: %d\r\n" % len(body)
    answer = exchange(client.port, data + b"\r\n" + body)
    assert len(statuses(answer)) == 1, answer
    return statuses(answer)[0], answer.split(b"\r\n\r\n", 1)[1]


FORM = b"Content-Type: application/x-www-form-urlencoded"
PARTS = b"Content-Type: multipart/form-data; boundary=b"


def part(disposition, data=b"x"):
    return b"--b\r\nContent-Disposition: form-data; " + disposition + b"\r\n\r\n" + data + b"\r\n--b--"


BAD = [b"\xff", b"\xe9", b"\xc3", b"\xc0\x80", b"\xed\xa0\x80", b"\xf5\x80\x80\x80"]


def escaped(data):
    return b"".join(b"%%%02X" % byte for byte in data)


@pytest.mark.parametrize("bad", BAD, ids=[repr(b) for b in BAD])
def test_what_is_no_text_is_the_clients_fault(web, bad):  # noqa: F811
    client, running = web(SCRIPT)
    for status, body in (
        get(client, b"/path/a" + escaped(bad)), get(client, b"/query?a=" + escaped(bad)), get(client, b"/query?b=" + escaped(bad)), get(client, b"/query?" + escaped(bad) + b"=1"),
        get(client, b"/all?a=1&a=" + escaped(bad)), get(client, b"/header", b"X-A: " + bad), get(client, b"/headers", b"X-A: b" + bad),
        get(client, b"/cookies", b"Cookie: a=" + bad), get(client, b"/form", FORM, method=b"POST", body=b"a=" + escaped(bad)),
        get(client, b"/form", FORM, method=b"POST", body=bad + b"=1"), get(client, b"/form", PARTS, method=b"POST", body=part(b'name="a"', bad)),
        get(client, b"/form", PARTS, method=b"POST", body=part(b'name="' + bad + b'"')),
        get(client, b"/form", PARTS, method=b"POST", body=part(b'name="a"; filename="' + bad + b'"')),
        get(client, b"/json", method=b"POST", body=b'{"a": "' + bad + b'"}'), get(client, b"/published?a=" + escaped(bad)),
    ):  # fmt: skip
        assert status == 400, body
        value = json.loads(body)
        assert value["code"] == 400 and "UTF-8" in value["error"]
    # In a target they have to be escaped.
    for target in (b"/path/" + bad, b"/rest/" + bad, b"/query?a=" + bad):
        assert get(client, target)[0] == 400
    # Nobody is told of a fault of the service's.
    assert "ERROR" not in running.output


def test_what_nobody_looks_at_costs_nobody_anything(web):  # noqa: F811
    client, _ = web(SCRIPT)
    assert get(client, b"/none?a=%FF", b"X-A: \xff") == (200, b'{"ok":true}')
    assert json.loads(get(client, b"/others", b"X-A: \xff", b"Cookie: a=1; b=\xff")[1]) == {"host": "x", "a": "1"}
    assert json.loads(get(client, b"/caught?a=%FF")[1]) == {"ok": False, "code": 400}


def test_a_fault_of_the_scripts_own(web):  # noqa: F811
    client, running = web(SCRIPT)
    assert get(client, b"/own")[0] == 500
    running.wait_for("the response cannot be sent")


def test_who_asks_for_bytes_gets_them(web):  # noqa: F811
    client, _ = web(SCRIPT)
    assert json.loads(get(client, b"/bytes/a%FF?a=%FF%FE%FD", b"X-A: \xff")[1]) == [2, 11, 3, 1]
    assert json.loads(get(client, b"/bytes", FORM, method=b"POST", body=b"a=%FF%FE")[1]) == [2]
    assert json.loads(get(client, b"/bytes", PARTS, method=b"POST", body=part(b'name="a"', b"\xff\xfe\xfd"))[1]) == [3]
    # What it does with them is its own fault.
    assert get(client, b"/bytes-back/%FF")[0] == 500


def test_text_is_text(web):  # noqa: F811
    client, _ = web(SCRIPT)
    text = "\u00e4\u20ac\U0001f600".encode()
    for target, key in ((b"/path/" + escaped(text), "name"), (b"/query?a=" + escaped(text), "value")):
        assert json.loads(get(client, target)[1])[key] == text.decode()
    assert json.loads(get(client, b"/header", b"X-A: " + text)[1])["value"] == text.decode()
    # What is no escape stays.
    assert json.loads(get(client, b"/query?a=%zz%")[1])["value"] == "%zz%"


NAMES = [
    (rb"C:\dir" + b"\\", "C:\\dir\\"), (rb"C:\dir\file.txt", "C:\\dir\\file.txt"), (b"\\", "\\"), (rb"a\"b.txt", 'a"b.txt'), (rb"a%22b.txt", "a%22b.txt"),
    (rb"\\server\share" + b"\\", "\\\\server\\share\\"), (b"a; b", "a; b"), (rb"a\"; b", 'a"; b'), ("\u00e4 \U0001f600".encode(), "\u00e4 \U0001f600"), (b"", ""),
]  # fmt: skip


@pytest.mark.parametrize("sent, name", NAMES, ids=[n[1] for n in NAMES])
def test_names_in_forms(web, sent, name):  # noqa: F811
    client, _ = web("""
        app.http.post("/", function(req)
            local fields = req.form()
            local file = fields["the file"]
            local named = {}
            for key, value in pairs(fields) do named[#named + 1] = { key = key, data = type(value) == "table" and value.data or value } end
            table.sort(named, function(a, b) return a.key < b.key end)
            return { filename = file and file.filename, data = file and file.data, named = named }
        end)
    """)
    for disposition in (b'name="the file"; filename="' + sent + b'"', b'filename="' + sent + b'"; name="the file"'):
        value = json.loads(get(client, b"/", PARTS, method=b"POST", body=part(disposition, b"content"))[1])
        assert value["filename"] == name and value["data"] == "content"
    value = json.loads(get(client, b"/", PARTS, method=b"POST", body=part(b'name="' + sent + b'"', b"content"))[1])
    assert value["named"] == [{"key": name, "data": "content"}]
    value = json.loads(get(client, b"/", PARTS, method=b"POST", body=part(b'name="' + sent + b'"; filename="f"', b"content"))[1])
    assert value["named"] == [{"key": name, "data": "content"}]
