"""JSON through the wire: what a handler sees and what goes back."""

import json
import math

import pytest

from harness import assert_error

SCRIPT = """
    app.listen("echo", function(msg) return { v = msg.data } end)
    app.listen("type", function(msg) return { t = math.type(msg.data) or type(msg.data), s = tostring(msg.data) } end)
"""

VALUES = [
    b"null", b"true", b"false", b"0", b"-0", b"1", b"-1", b"9223372036854775807", b"-9223372036854775808",
    b"0.1", b"-1.5e-7", b"1e15", b"1e308", b"5e-324", b"1.7976931348623157e308", b"123456789.123456789",
    b'""', b'"text"', b'"\\u00e9\\ud83d\\ude00"', b'"\\"\\\\\\/\\b\\f\\n\\r\\t"', b'"\\u0000\\u001f\\u007f"',
    '"grüße 😀 \u2028"'.encode(), b"[]", b"{}", b"[[]]", b"[{}]", b'{"a": []}', b'{"a": {}}', b"[null]", b"[null, null, 1]",
    b'{"": 1}', b'{"1": "a", "2": "b"}', b'{"a": null}', b" \t\r\n[ 1 , 2 ] \n", b'{"a":{"b":{"c":[1,[2,[3]]]}}}',
    json.dumps(list(range(1000))).encode(), json.dumps({str(n): n for n in range(1000)}).encode(),
    b"[" * 100 + b"]" * 100, json.dumps("x" * 100_000).encode(), b'{"a":1,"b":2,"a":3}',
]


@pytest.mark.parametrize("payload", VALUES, ids=lambda v: repr(v[:40]))
def test_round_trips(service, client, payload):
    service(SCRIPT)
    reply = client.request("echo", payload)
    value = json.loads(payload)
    assert reply.json == {"v": value}
    assert json.dumps(reply.json["v"], sort_keys=True) == json.dumps(value, sort_keys=True) or payload == b"-0"


@pytest.mark.parametrize(
    "payload, kind, text",
    [
        (b"1", "integer", "1"),
        (b"1.0", "float", "1.0"),
        (b"1e2", "float", "100.0"),
        (b"9223372036854775807", "integer", "9223372036854775807"),
        (b"9223372036854775808", "float", None),
        (b"123456789012345678901234567890", "float", None),
        (b"-9223372036854775809", "float", None),
        (b"null", "userdata", "null"),
        (b'"x"', "string", "x"),
        (b"[]", "table", None),
    ],
)
def test_lua_types(service, client, payload, kind, text):
    service(SCRIPT)
    answer = client.request("type", payload).json
    assert answer["t"] == kind
    if text is not None:
        assert answer["s"] == text


MALFORMED = [
    b"{", b"}", b"[", b"]", b"[1", b"[1,", b"[1,]", b"[,1]", b"{,}", b'{"a"}', b'{"a":}', b'{"a":1,}', b"{a:1}", b"{'a':1}", b'{1:2}',
    b"tru", b"TRUE", b"nulll", b"None", b"NaN", b"Infinity", b"-Infinity", b"-", b"+1", b"01", b"-01", b"1.", b".5", b"1e", b"1e+", b"0x10",
    b"1 2", b"{} {}", b"[] x", b'"', b'"abc', b'"\\', b'"\\x41"', b'"\\u12"', b'"\\u12G4"', b'"\\ud800"', b'"\\udc00"', b'"\\ud800\\u0041"',
    b'"\n"', b'"\x00"', b'"\x1f"', b'"\xff"', b'"\xc0\x80"', b'"\xed\xa0\x80"', b'"\xf5\x80\x80\x80"', b'"\xe2\x82"', b"\xef\xbb\xbf1",
    b"1e999", b"-1e999", b"\x00", b"//", b"[1//\n]", b"[" * 1000 + b"]" * 1000, b"[" * 100_000, b'{"a":' * 100_000, b" ", b"\r\n",
    "１".encode(), b"[1 2]", b'{"a" 1}', b'{"a":1 "b":2}', b"- 1", b"1_000",
]


def test_malformed_is_400_and_harms_nothing(service, client):
    service(SCRIPT)
    for payload in MALFORMED:
        reply = client.request("echo", payload)
        assert reply.headers.get("Nats-Service-Error-Code") == "400", (payload[:40], reply)
        assert_error(reply, 400)
        assert client.ask("echo", {"still": "here"}) == {"v": {"still": "here"}}


@pytest.mark.parametrize(
    "value, text",
    [
        ("1", "1"),
        ("1.0", "1.0"),
        ("-0.0", "-0.0"),
        ("0.1", "0.1"),
        ("1e100", "1e+100"),
        ("math.maxinteger", "9223372036854775807"),
        ("math.mininteger", "-9223372036854775808"),
        ("2^53", "9007199254740992.0"),
        ('{ "a", "b" }', '["a","b"]'),
        ('{ [1] = "a", [2] = "b" }', '["a","b"]'),
        ('panini.array{ }', "[]"),
        ("{ a = { b = { c = true } } }", '{"a":{"b":{"c":true}}}'),
        ('{ "\\"\\\\\\n\\0\\127" }', None),
        ("{ 1, 2, nil }", "[1,2]"),
        ("{ panini.null }", "[null]"),
    ],
)
def test_encoding(service, client, value, text):
    service(f"""
        app.listen("encode", function(msg) return {{ text = panini.json.encode({value}) }} end)
    """)
    encoded = client.ask("encode")["text"]
    if text is None:
        assert json.loads(encoded) == ['"\\\n\0\x7f']
    elif encoded != text:
        # Another spelling of the same number is fine, another value or type is not.
        assert type(json.loads(encoded)) is type(json.loads(text)) and json.loads(encoded) == json.loads(text)


@pytest.mark.parametrize(
    "value, path",
    [
        ("{ 1, 2, x = 3 }", None),
        ("{ [1] = 1, [3] = 3 }", None),
        ("{ [1.5] = 1 }", None),
        ("{ [true] = 1 }", None),
        ("{ [0] = 1 }", None),
        ("{ a = { print } }", "a[1]"),
        ("{ a = { b = 0/0 } }", "a.b"),
        ("{ { { 1/0 } } }", "[1][1][1]"),
        ('{ name = "\\xff" }', "name"),
        ('{ ["\\xff"] = 1 }', None),
        ("{ c = coroutine.create(print) }", "c"),
        ("(function() local t = {} t.a = { t } return t end)()", "a[1]"),
        ("(function() local t = {} for i = 1, 200 do t = { t } end return t end)()", None),
    ],
)
def test_what_cannot_be_encoded_names_its_path(service, client, value, path):
    service(f"""
        app.listen("encode", function(msg)
            local ok, problem = pcall(panini.json.encode, {value})
            return {{ ok = ok, problem = tostring(problem) }}
        end)
    """)
    answer = client.ask("encode")
    assert answer["ok"] is False
    if path:
        assert path in answer["problem"], answer


def test_the_same_table_twice_is_no_cycle(service, client):
    service("""
        app.listen("twice", function(msg) local t = { 1 } return { a = t, b = t } end)
    """)
    assert client.ask("twice") == {"a": [1], "b": [1]}


def test_floats_survive(service, client):
    import random

    generator = random.Random(7)
    numbers = [generator.uniform(-1, 1) * 10 ** generator.randint(-300, 300) for _ in range(2000)]
    service(SCRIPT)
    back = client.ask("echo", numbers)["v"]
    assert all(a == b and not math.isnan(b) for a, b in zip(numbers, back))
