"""Bytes that are no UTF-8 in subjects, reply subjects and headers: the sender's fault, unless the script asked for bytes."""

import json

import pytest

from harness import RawConnection

SERVICE = """
app.listen("echo.*", function(msg) return { echoed = msg.subject } end)
app.listen("tokens.*", function(msg) return { echoed = msg.tokens[2] } end)
app.listen("params.{name}", function(msg) return { echoed = msg.params.name } end)
app.listen("headers.*", function(msg) return { echoed = msg.headers["X-Name"] or "none" } end)
app.listen("reply.*", function(msg) return { echoed = msg.reply } end)
app.listen("text.*", { data_type = "string" }, function(msg) return { echoed = msg.data } end)
app.listen("raw.*", function(msg) return msg.raw end)
app.listen("blind.*", function(msg) return { ok = true } end)
app.listen("bytes.*", { data_type = "bytes" }, function(msg)
    return msg.subject .. "|" .. (msg.headers["X-Name"] or "") .. "|" .. msg.data
end)
app.listen("waits.*", function(msg) app.sleep(0.001) app.publish("seen", { msg.subject }) return {} end)
"""

NO_UTF8 = [b"\xff", b"caf\xe9", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"a\x80", b"\xe2\x82", b"12345678\xff", b"\xf0\x80\x80\x80"]
UTF8 = ["x", "caf\u00e9", "\u20ac", "\U0001F600", "\u07ff\u0800\ud7ff\uffff\U00010000\U0010FFFF", "12345678\u00e9"]


@pytest.fixture
def raw(broker):
    connection = RawConnection(broker).connect()
    yield connection
    connection.close()


def ask(raw, subject, payload=b"{}", headers=b"", reply=b"answer"):
    """A request by hand; gives the header block and the payload of the answer."""
    raw.send(b"SUB " + reply + b" 1\r\n")
    if headers:
        block = b"NATS/1.0\r\n" + headers + b"\r\n\r\n"
        raw.send(b"HPUB %s %s %d %d\r\n%s%s\r\n" % (subject, reply, len(block), len(block) + len(payload), block, payload))
    else:
        raw.send(b"PUB %s %s %d\r\n%s\r\n" % (subject, reply, len(payload), payload))
    _, block, body = raw.message_of_bytes()
    raw.send(b"UNSUB 1\r\n")
    return block, body


def refused(answer, what):
    block, body = answer
    assert b"Nats-Service-Error-Code: 400" in block, answer
    error = json.loads(body)
    assert error["code"] == 400 and what in error["error"] and "UTF-8" in error["error"], error


@pytest.mark.parametrize("bad", NO_UTF8, ids=[repr(b) for b in NO_UTF8])
def test_what_is_no_text_is_the_senders_fault(service, raw, bad):
    running = service(SERVICE)
    for subject in (b"echo.", b"tokens.", b"params.", b"waits."):
        refused(ask(raw, subject + bad), "subject")
    refused(ask(raw, b"headers.x", headers=b"X-Name: " + bad), "header")
    refused(ask(raw, b"reply.x", reply=b"answer." + bad), "reply subject")
    refused(ask(raw, b"text.x", payload=bad), "payload")
    # Who does not look is not bothered; who asked for bytes gets them.
    assert ask(raw, b"blind." + bad)[1] == b'{"ok":true}'
    assert ask(raw, b"headers." + bad)[1] == b'{"echoed":"none"}'
    assert ask(raw, b"raw." + bad, payload=bad)[1] == bad
    assert ask(raw, b"bytes." + bad, payload=bad, headers=b"X-Name: " + bad)[1] == b"bytes." + bad + b"|" + bad + b"|" + bad
    assert "ERROR" not in running.output


def test_text_of_every_length_passes(service, raw):
    service(SERVICE)
    for text in UTF8:
        data = text.encode()
        assert json.loads(ask(raw, b"echo." + data)[1]) == {"echoed": "echo." + text}
        assert json.loads(ask(raw, b"params." + data)[1]) == {"echoed": text}
        assert json.loads(ask(raw, b"headers.x", headers=b"X-Name: " + data)[1]) == {"echoed": text}


def test_headers_of_a_reply_are_what_the_other_service_sent(service, client, raw):
    service("""
        app.listen("go", function(msg)
            local data, err, reply = app.request("other", {})
            return { bytes = #reply.headers["X-Name"] }
        end)
    """)
    raw.send(b"SUB other 5\r\n")
    raw.ping()
    inbox = client.subscribe("answers")
    client.publish("go", b"{}", reply="answers")
    line, _, _ = raw.message_of_bytes()
    block = b"NATS/1.0\r\nX-Name: \xff\xfe\r\n\r\n"
    raw.send(b"HPUB %s %d %d\r\n%s{}\r\n" % (line.split(b" ")[3], len(block), len(block) + 2, block))
    assert inbox.next().json == {"bytes": 2}


def test_one_way_messages_are_logged(service, client, raw):
    running = service("app.listen('one.*', function(msg) app.publish('seen', { msg.subject }) end)")
    raw.send(b"PUB one.\xff 2\r\n{}\r\n")
    raw.ping()
    running.wait_for("not valid UTF-8")
