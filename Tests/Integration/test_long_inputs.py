"""A broker, or whoever speaks through it, is not trusted to be short: lines, subjects, headers, lists and floods of them."""

import re
import time

import pytest

from harness import PATIENCE, Client, Service, panini, script_text, wait_until
from serving import Acceptor

INFO = b'"server_id":"X","version":"2.10.0","proto":1,"host":"x","port":1,"max_payload":1048576,"headers":true'


class ScriptedBroker:
    """Takes one connection after another, answers each PING, and says what the test wants said."""

    def __init__(self, info=b"INFO {%s}\r\n" % INFO):
        self.info = info
        self.connections = 0
        self.sids = {}
        self.heard = b""
        self.connection = None
        self.port = Acceptor(self._serve).port

    @property
    def url(self):
        return f"nats://127.0.0.1:{self.port}"

    def _serve(self, connection):
        self.connections += 1
        self.connection = connection
        connection.sendall(self.info)
        rest = b""
        while data := connection.recv(65536):
            self.heard += data
            rest += data
            *lines, rest = rest.split(b"\r\n")
            for line in lines:
                if line == b"PING":
                    connection.sendall(b"PONG\r\n")
                elif line.startswith(b"SUB "):
                    parts = line.split(b" ")
                    self.sids[parts[1].decode()] = parts[-1]

    def say(self, data):
        self.connection.sendall(data)

    def answer(self, timeout=None):
        """Whether the service does its work: it answers a request now."""
        mark = b"answer.%d" % time.monotonic_ns()
        self.say(b"MSG ping %s %s 2\r\n{}\r\n" % (self.sids["ping"], mark))
        started = time.monotonic()
        wait_until(lambda: mark in self.heard, "an answer", timeout)
        return time.monotonic() - started


SCRIPT = """
    app.listen("ping", function() return { ok = true } end)
    app.listen("any.>", function(msg) return { length = #msg.subject, reply = #(msg.reply or "") } end)
    app.listen("named.{first}.{second}", function(msg) return { first = #msg.params.first, second = #msg.params.second } end)
    app.listen("heads", function(msg)
        local names = 0
        for _ in pairs(msg.headers) do names = names + 1 end
        return { names = names }
    end)
"""


@pytest.fixture
def scripted(tmp_path):
    running = []

    def start(script=SCRIPT, **options):
        broker = ScriptedBroker(**options)
        path = tmp_path / "test.lua"
        path.write_text(script_text(script))
        service = Service(path, broker.url)
        running.append(service)
        broker.answer()
        return broker, service

    yield start
    for service in running:
        service.kill()


def lines_of(service):
    return service.output.split("\n")


@pytest.mark.parametrize("subject", [b"any." + b"x" * 1_000_000, b"any" + b".x" * 400_000, b"any." + b"\x01\x1b\xff" * 300_000])
def test_subjects_of_a_megabyte(scripted, subject):
    broker, service = scripted()
    for _ in range(3):
        broker.say(b"MSG %s %s long.reply 2\r\n{}\r\n" % (subject, broker.sids["any.>"]))
    wait_until(lambda: len(re.findall(rb"H?PUB long.reply ", broker.heard)) == 3, "three answers", 8 * PATIENCE)
    assert broker.answer() < PATIENCE / 2
    assert broker.connections == 1
    assert max(map(len, lines_of(service))) < 4000


def test_replies_of_a_megabyte_are_not_sent_and_told_briefly(scripted):
    """No server takes them back: the answer is refused here, and costs nobody else anything."""
    broker, service = scripted()
    for number in range(200):
        broker.say(b"MSG ping %s %s 2\r\n{}\r\n" % (broker.sids["ping"], b"r%d." % number + b"x" * 900_000))
    assert broker.answer() < 2 * PATIENCE
    assert broker.connections == 1
    assert len(lines_of(service)) < 10 and max(map(len, lines_of(service))) < 4000


def test_tokens_by_the_hundred_thousand_for_named_ones(scripted):
    """Whatever a broker claims to match."""
    broker, service = scripted()
    for subject in (b"named." + b"x" * 500_000 + b".y", b"named" + b".x" * 400_000, b"named", b"named." + b"." * 400_000):
        broker.say(b"MSG %s %s 2\r\n{}\r\n" % (subject, broker.sids["named.*.*"]))
    assert broker.answer() < PATIENCE
    assert broker.connections == 1


@pytest.mark.parametrize("kind", ["other names", "one name", "no headers", "blank"])
def test_a_hundred_thousand_headers(scripted, kind):
    broker, service = scripted()
    lines = {
        "other names": b"".join(b"Name-%d: x\r\n" % n for n in range(100_000)),
        "one name": b"Name: x\r\n" * 100_000,
        "no headers": b"nonsense\r\n" * 100_000,
        "blank": b" : \r\n" * 100_000,
    }[kind]
    block = b"NATS/1.0\r\n" + lines + b"\r\n"
    for _ in range(3):
        broker.say(b"HMSG heads %s answer %d %d\r\n%s{}\r\n" % (broker.sids["heads"], len(block), len(block) + 2, block))
    wait_until(lambda: len(re.findall(rb"H?PUB answer ", broker.heard)) == 3, "three answers", 8 * PATIENCE)
    assert broker.answer() < PATIENCE
    assert broker.connections == 1


def test_errors_with_a_different_text_each_are_one_line(scripted):
    broker, service = scripted()
    before = len(lines_of(service))
    for number in range(300):
        broker.say(b"-ERR 'trouble number %d %s'\r\n" % (number, b"\x1b[2J" + b"x" * 60_000))
        broker.say(b"-ERR 'Permissions Violation for Publish to \"%d.%s\"'\r\n" % (number, b"y" * 60_000))
        broker.say(b"-ERR 'Permissions Violation for Subscription to \"none.%d\"'\r\n" % number)
    assert broker.answer() < 2 * PATIENCE
    service.wait_for("[0-9]+ more errors that the broker reported")
    lines = lines_of(service)
    assert len(lines) - before < 12, "\n".join(line[:200] for line in lines)
    assert max(map(len, lines)) < 20_000
    assert broker.connections == 1


@pytest.mark.parametrize("entry", [b'""', b'"x:y"', b'"host:%d"', b'"[::1"', b'7', b'"h\\u0000:1"'])
def test_lists_of_servers_as_long_as_a_line(scripted, entry):
    broker, service = scripted()
    entries = b",".join(entry % n if b"%d" in entry else entry for n in range(40_000))
    line = b'INFO {%s,"connect_urls":[%s]}\r\n' % (INFO, entries)
    for _ in range(5):
        broker.say(line)
    assert broker.answer() < PATIENCE
    assert broker.connections == 1
    assert max(map(len, lines_of(service))) < 4000


def test_infos_with_long_texts(scripted):
    broker, service = scripted()
    for name in (b"server_name", b"version", b"cluster", b"domain", b"nonce", b"host", b"client_ip"):
        broker.say(b'INFO {%s,"%s":"%s"}\r\n' % (INFO, name, b"\x7f\xc2\x9b" * 300_000))
    assert broker.answer() < PATIENCE
    assert max(map(len, lines_of(service))) < 4000


def test_asking_for_services_by_the_thousand(service, client):
    """$SRV requests are answered or not; the handlers of others have their turn meanwhile."""
    running = service(SCRIPT)
    for _ in range(20):
        for number in range(500):
            client.publish("$SRV.INFO", b"", reply="nobody.listens")
            client.publish(f"$SRV.STATS.test{number}" + "x" * 1000, b"", reply="nobody.listens")
        client.flush()
    assert client.ask("ping", {}) == {"ok": True}
    assert len(lines_of(running)) < 10


def test_what_a_terminal_would_obey_is_shown(tmp_path):
    """Names and texts that scripts choose, in what commands print; whatever prints them."""
    odd = "a\u202eb\u2066c\u200f\u061c\u2028\x9bd\x7f"
    shown = ["\\u{202e}", "\\u{2066}", "\\u{200f}", "\\u{061c}", "\\u{2028}", "\\x9b", "\\x7f"]
    escape = "".join(f"\\u{{{ord(c):x}}}" for c in odd)
    (tmp_path / "odd.lua").write_text(f'local app = panini.app{{ service_name = "x" }}\nerror("{escape}")\n')
    result = panini("check", "odd.lua", cwd=tmp_path)
    assert result.returncode == 1
    (tmp_path / "odd_test.lua").write_text(f'test("{escape}", function(t) error("{escape}") end)\n')
    (tmp_path / "odd.lua").write_text('local app = panini.app{ service_name = "x" }\n')
    tested = panini("test", "odd_test.lua", cwd=tmp_path)
    for output in (result.stderr + result.stdout, tested.stderr + tested.stdout):
        for sign in "\u202e\u2066\u200f\u061c\u2028\x9b\x7f":
            assert sign not in output, repr(output)
        for text in shown:
            assert text in output, repr(output)


def test_fields_of_logs_steer_no_terminal(service, client):
    odd = "\u202e\u2066\u200e\u061c\u2029\x9b"
    escape = "".join(f"\\u{{{ord(c):x}}}" for c in odd)
    running = service(
        f"""
        app.listen("log", function()
            app.logger.info("text {escape}", {{ ["key{escape}"] = "value {escape}", list = {{ "{escape}" }} }})
            panini.get_logger("name{escape}").info("named")
            return {{}}
        end)
        """
    )
    client.ask("log", {})
    running.wait_for("named")
    output = running.output
    for sign in odd:
        assert sign not in output, repr(output)
    assert "\\u202e" in output and "\\u{202e}" in output and "\\x9b" in output
