"""Files over HTTP: what is found, what never is, parts of files, what browsers need to keep them."""

import os
import ssl
import http.client
import re

import pytest

from harness import PATIENCE
from secure import Certificates
from test_http import WEB, Web, assert_failure
from test_http_malformed import exchange, statuses
from test_mistakes import refused

SITE = {
    "site/index.html": "<h1>start</h1>",
    "site/a.txt": "0123456789",
    "site/sub/index.html": "sub",
    "site/sub/style.css": "p {}",
    "site/.secret": "hidden",
    "site/späce x.txt": "named",
    "beside.txt": "beside",
}

SCRIPT = """
    app.add_middleware{ http_request = function(req, callback)
        if req.query.refuse then return panini.response{ status = 403, text = "no" } end
        return callback(req)
    end }
    app.http.static("/files", "site", { max_age = 60 })
    app.http.static("/big", "big")
    app.http.get("/one", function(req) return panini.response{ file = "beside.txt", headers = { ["content-type"] = "text/x" } } end)
    app.http.get("/any", function(req) return panini.response{ file = req.query.name } end)
    app.http.get("/none", function(req) return panini.response{ status = 404, file = "beside.txt" } end)
"""


@pytest.fixture
def site(start, nats_server):
    def start_site(options="", size=0):
        running = start(
            nats_server.url,
            "app.on_start_task(function() end)\n" + SCRIPT,
            options=f"{WEB}{options}",
            files={**SITE, "big/file.bin": "x" * 10},
            ready=True,
        )
        return running

    return start_site


def test_files_of_a_folder(site):
    running = site()
    client = Web(running)
    answer = client.get("/files/a.txt")
    assert answer.text == "0123456789" and answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["cache-control"] == "public, max-age=60" and answer.headers["accept-ranges"] == "bytes"
    assert client.get("/files/").text == "<h1>start</h1>"
    assert client.get("/files/sub/").text == "sub"
    assert client.get("/files/sub/style.css").headers["content-type"] == "text/css; charset=utf-8"
    assert client.get("/files/sp%C3%A4ce%20x.txt").text == "named"
    for path, location in (("/files", "/files/"), ("/files/sub?x=1", "/files/sub/?x=1")):
        answer = client.get(path)
        assert answer.status == 301 and answer.headers["location"] == location
    answer = client.ask("HEAD", "/files/a.txt")
    assert answer.headers["content-length"] == "10" and answer.body == b""
    assert client.ask("POST", "/files/a.txt").status == 405
    assert client.get("/files/a.txt?refuse=1").status == 403
    assert client.get("/one").text == "beside" and client.get("/one").headers["content-type"] == "text/x"
    answer = client.get("/none")
    assert answer.status == 404 and answer.text == "beside"


def test_what_is_not_below_the_folder_is_not_there(site):
    running = site()
    folder = running.path.parent
    (folder / "site" / "out").symlink_to("../beside.txt")
    (folder / "site" / "folder").symlink_to(folder)
    (folder / "site" / "in").symlink_to("a.txt")
    os.mkfifo(folder / "site" / "pipe")
    client = Web(running)
    assert client.get("/files/in").text == "0123456789"
    for path in (
        "/files/none", "/files/..%2Fbeside.txt", "/files/%2e%2e/beside.txt", "/files/sub/..%2f..%2fbeside.txt", "/files/.secret",
        "/files/%2Fetc%2Fpasswd", "/files//etc/passwd", "/files/a.txt%00", "/files/out", "/files/folder/beside.txt", "/files/pipe",
        "/files/a.txt/", "/files/sub%5C..", "/any?name=../x", "/any?name=/etc/passwd", "/any?name=site/out/..",
    ):  # fmt: skip
        assert_failure(client.get(path), 404)
    for path in (b"/files/../beside.txt", b"/files/../../../../etc/passwd", b"/files/./a.txt", b"//etc/passwd", b"/files/\xff"):
        answer = exchange(client.port, b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        assert statuses(answer) in ([404], [400]), answer
    assert client.get("/any?name=site/a.txt").text == "0123456789"


def test_parts_and_conditions(site):
    client = Web(site())
    whole = client.get("/files/a.txt")
    tag, date = whole.headers["etag"], whole.headers["last-modified"]
    for headers, status, body in [
        ({"Range": "bytes=2-4"}, 206, "234"), ({"Range": "bytes=-3"}, 206, "789"), ({"Range": "bytes=8-100"}, 206, "89"),
        ({"Range": "bytes=0-0,2-2"}, 200, "0123456789"), ({"If-None-Match": tag}, 304, ""), ({"If-None-Match": '"x"'}, 200, "0123456789"),
        ({"If-Modified-Since": date}, 304, ""), ({"Range": "bytes=2-4", "If-Range": tag}, 206, "234"),
        ({"Range": "bytes=2-4", "If-Range": '"x"'}, 200, "0123456789"),
    ]:  # fmt: skip
        answer = client.get("/files/a.txt", headers)
        assert answer.status == status and answer.text == body, (headers, answer)
        assert answer.headers["etag"] == tag
    answer = client.get("/files/a.txt", {"Range": "bytes=2-4"})
    assert answer.headers["content-range"] == "bytes 2-4/10"
    answer = client.get("/files/a.txt", {"Range": "bytes=10-"})
    assert answer.status == 416 and answer.headers["content-range"] == "bytes */10" and answer.body == b""


OTHER, OLDER, NEWER = '"other"', "Sun, 06 Nov 1994 08:49:36 GMT", "Sun, 06 Nov 1994 08:49:38 GMT"
MODIFIED = 784_111_777

# Headers ({tag} and {date} are those of the file), and the status of GET. RFC 9110, sections 13 and 14.
CONDITIONS = [
    ({"If-Match": "{tag}"}, 200), ({"If-Match": "*"}, 200), ({"If-Match": OTHER}, 412), ({"If-Match": "W/{tag}"}, 412),
    ({"If-Match": OTHER + ', {tag} , "third"'}, 200), ({"If-Match": OTHER + ', "third"'}, 412), ({"If-Match": '"a,b", {tag}'}, 200),
    ({"If-Match": "nonsense"}, 412), ({"If-Match": ""}, 412),
    ({"If-Unmodified-Since": "{date}"}, 200), ({"If-Unmodified-Since": NEWER}, 200), ({"If-Unmodified-Since": OLDER}, 412),
    ({"If-Unmodified-Since": "Thu, 01 Jan 1970 00:00:00 GMT"}, 412), ({"If-Unmodified-Since": "yesterday"}, 200),
    ({"If-Unmodified-Since": "Sunday, 06-Nov-94 08:49:36 GMT"}, 412), ({"If-Unmodified-Since": "Sun Nov  6 08:49:36 1994"}, 412),
    ({"If-Unmodified-Since": "Sunday, 06-Nov-94 08:49:37 GMT"}, 200),
    # If-Match decides where both are there, and If-None-Match comes after them.
    ({"If-Match": "{tag}", "If-Unmodified-Since": OLDER}, 200), ({"If-Match": OTHER, "If-Unmodified-Since": NEWER}, 412),
    ({"If-Match": "{tag}", "If-None-Match": "{tag}"}, 304), ({"If-Match": OTHER, "If-None-Match": "{tag}"}, 412),
    ({"If-Unmodified-Since": OLDER, "If-Modified-Since": "{date}"}, 412), ({"If-Unmodified-Since": NEWER, "If-Modified-Since": "{date}"}, 304),
    ({"If-None-Match": "{tag}"}, 304), ({"If-None-Match": "W/{tag}"}, 304), ({"If-None-Match": "*"}, 304), ({"If-None-Match": OTHER}, 200),
    ({"If-None-Match": OTHER + ",{tag}"}, 304), ({"If-None-Match": OTHER, "If-Modified-Since": "{date}"}, 200),
    ({"If-Modified-Since": "{date}"}, 304), ({"If-Modified-Since": NEWER}, 304), ({"If-Modified-Since": OLDER}, 200),
    ({"If-Modified-Since": "Sun Nov  6 08:49:37 1994"}, 304),
    ({"Range": "bytes=2-4"}, 206), ({"Range": "Bytes=2-4"}, 206), ({"Range": "BYTES=2-4"}, 206), ({"Range": "bytes=2-4", "If-Match": "{tag}"}, 206),
    ({"Range": "bytes=2-4", "If-Match": OTHER}, 412), ({"Range": "bytes=2-4", "If-None-Match": "{tag}"}, 304),
    ({"Range": "bytes=2-4", "If-Unmodified-Since": OLDER}, 412), ({"Range": "lines=2-4"}, 200), ({"Range": "bytes 2-4"}, 200), ({"Range": "bytes=4-2"}, 200),
    ({"Range": "bytes=0-1,4-5"}, 200), ({"Range": "bytes=10-"}, 416), ({"Range": "bytes=10-", "If-Range": OTHER}, 200),
    ({"Range": "bytes=2-4", "If-Range": "{tag}"}, 206), ({"Range": "bytes=2-4", "If-Range": "W/{tag}"}, 200), ({"Range": "bytes=2-4", "If-Range": OTHER}, 200),
    ({"Range": "bytes=2-4", "If-Range": "{date}"}, 206), ({"Range": "bytes=2-4", "If-Range": NEWER}, 200), ({"Range": "bytes=2-4", "If-Range": OLDER}, 200),
    ({"Range": "bytes=2-4", "If-Range": "*"}, 200), ({"Range": "bytes=2-4", "If-Range": "Sun Nov  6 08:49:37 1994"}, 206),
]  # fmt: skip

FIXED = """
    app.http.static("/files", "site")
    app.http.get("/one", function() return panini.response{ file = "site/a.txt" } end)
    app.http.post("/one", function() return panini.response{ file = "site/a.txt" } end)
    app.http.get("/missing", function() return panini.response{ status = 404, file = "site/a.txt" } end)
    app.http.get("/own", function() return panini.response{ file = "site/a.txt", headers = { etag = '"mine"' } } end)
"""


@pytest.fixture(scope="module")
def dated(tmp_path_factory, nats_server):
    """A site whose file has a date of its own."""
    from harness import Service, script_text

    folder = tmp_path_factory.mktemp("dated")
    (folder / "site").mkdir()
    (folder / "site" / "a.txt").write_text(SITE["site/a.txt"])
    os.utime(folder / "site" / "a.txt", (MODIFIED, MODIFIED))
    (folder / "web.lua").write_text(script_text(FIXED, "web", WEB))
    running = Service(folder / "web.lua", nats_server.url)
    yield Web(running)
    running.stop()
    running.kill()


@pytest.mark.parametrize("headers, status", CONDITIONS, ids=[str(c[0]) for c in CONDITIONS])
def test_conditions(dated, headers, status):
    whole = dated.get("/one")
    tag, date = whole.headers["etag"], whole.headers["last-modified"]
    assert date == "Sun, 06 Nov 1994 08:49:37 GMT"
    headers = {name: value.format(tag=tag, date=date) for name, value in headers.items()}
    for path in ("/one", "/files/a.txt"):
        answer = dated.get(path, headers)
        assert answer.status == status and answer.headers["etag"] == tag, answer
        if status == 412:
            assert_failure(answer, 412)
        else:
            assert answer.text == {200: "0123456789", 206: "234"}.get(status, "")
        assert ("content-range" in answer.headers) == (status in (206, 416))
        # Parts are of GET alone (14.2): HEAD tells of the whole.
        answer = dated.ask("HEAD", path, headers=headers)
        wanted = 200 if status in (206, 416) else status
        assert answer.status == wanted and answer.body == b"" and "content-range" not in answer.headers
        if wanted == 200:
            assert answer.headers["content-length"] == "10" and answer.headers["accept-ranges"] == "bytes"
    # What a handler of another method has done is done, and what is no 200 is not the file.
    for method, path, other in (("POST", "/one", 200), ("GET", "/missing", 404)):
        answer = dated.ask(method, path, headers=headers)
        assert answer.status == other and answer.text == "0123456789"


def test_several_fields_are_one_list(dated):
    tag = dated.get("/one").headers["etag"].encode()
    for name, status in ((b"If-Match", 200), (b"If-None-Match", 304)):
        for first, second in ((tag, b'"x"'), (b'"x"', tag)):
            data = b"GET /one HTTP/1.1\r\nHost: x\r\n%s: %s\r\n%s: %s\r\n\r\n" % (name, first, name, second)
            assert statuses(exchange(dated.port, data)) == [status]
    data = b"GET /one HTTP/1.1\r\nHost: x\r\nRange: bytes=0-1\r\nRange: bytes=2-3\r\n\r\n"
    assert statuses(exchange(dated.port, data)) == [200]


def test_a_validator_of_the_scripts_own_counts(dated):
    assert dated.get("/own", {"If-None-Match": '"mine"'}).status == 304
    assert dated.get("/own", {"If-Match": '"mine"'}).status == 200
    answer = dated.get("/own", {"If-Match": dated.get("/one").headers["etag"]})
    assert answer.status == 412 and answer.headers["etag"] == '"mine"'


def test_large_files_and_slow_clients(site, tmp_path):
    running = site()
    client = Web(running)
    data = bytes(range(256)) * 100_000
    path = running.path.parent / "big" / "file.bin"
    path.write_bytes(data)
    connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=PATIENCE)
    for _ in range(2):
        connection.request("GET", "/big/file.bin")
        assert connection.getresponse().read() == data
    connection.request("GET", "/big/file.bin", headers={"Range": "bytes=1000000-20000000"})
    assert connection.getresponse().read() == data[1000000:20000001]
    connection.close()
    answers = exchange(client.port, b"GET /big/file.bin HTTP/1.1\r\nHost: x\r\n\r\n" * 2 + b"GET /files/a.txt HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answers.endswith(b"0123456789") and len(answers) > 2 * len(data)
    # A file that shrinks while it is sent: the client sees that something is missing.
    raw = http.client.HTTPConnection("127.0.0.1", client.port, timeout=PATIENCE)
    raw.request("GET", "/big/file.bin")
    response = raw.getresponse()
    response.read(1000)
    os.truncate(path, 100)
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        response.read()
    raw.close()
    # No descriptor is left behind.
    descriptors = os.listdir(f"/proc/{running.process.pid}/fd")
    assert not any("file.bin" in _target(running.process.pid, name) for name in descriptors)


def _target(pid, name):
    try:
        return os.readlink(f"/proc/{pid}/fd/{name}")
    except OSError:
        return ""


def test_files_over_tls(start, nats_server, tmp_path):
    certificate, key = Certificates(tmp_path / "certificates").issue("localhost", "DNS:localhost", "serverAuth")
    running = start(
        nats_server.url,
        'app.http.static("/", "site")',
        options=f'{WEB}, web_tls = {{ cert_file = "{certificate}", key_file = "{key}" }}',
        files={"site/large.bin": "0123456789" * 500_000},
    )
    port = int(re.search(r"https://127\.0\.0\.1:(\d+)", running.output).group(1))
    context = ssl.create_default_context(cafile=tmp_path / "certificates" / "ca.pem")
    connection = http.client.HTTPSConnection("localhost", port, timeout=PATIENCE, context=context)
    for _ in range(2):
        connection.request("GET", "/large.bin")
        assert connection.getresponse().read() == b"0123456789" * 500_000
    connection.close()


@pytest.mark.parametrize(
    "text, words",
    [
        ("app.http.static('/a', 'nowhere')", ["nowhere"]),
        ("app.http.static('a', '.')", ["begins with"]),
        ("app.http.static('/{a}', '.')", ["parameters"]),
        ("app.http.static('/a', '.', { max_age = -1 })", ["max_age"]),
        ("app.http.static('/a', '.', { age = 1 })", ["age", "max_age"]),
        ("app.http.static('/a')", ["folder", "nothing"]),
        ("app.http.static('/a', '.') app.http.static('/a', '.')", ["already"]),
        ("panini.response{ file = 5 }", ["file", "number"]),
    ],
)
def test_mistakes(check, text, words):
    refused(check("\n" + text, options="web_server = true"), "test.lua:2:", *words)
