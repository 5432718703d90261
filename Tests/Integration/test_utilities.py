"""panini.env, json, null, array, uuid, clocks, base64, require."""

import base64
import json
import re
import time

import pytest

from harness import panini


def lua(service, body, **options):
    return service(f'app.listen("run", function(msg)\n{body}\nend)', **options)


def test_env(service, client):
    lua(
        service,
        """
        return { set = panini.env("TEST_SET"), empty = panini.env("TEST_EMPTY"), default = panini.env("TEST_ABSENT", "d"),
                 beats = panini.env("TEST_SET", "d"), absent = panini.env("TEST_ABSENT") == nil }
        """,
        env={"TEST_SET": "value", "TEST_EMPTY": ""},
    )
    assert client.ask("run") == {"set": "value", "empty": "", "default": "d", "beats": "value", "absent": True}


def test_null_and_array(service, client):
    lua(
        service,
        """
        local t = panini.array({})
        local decoded = panini.json.decode('{"list": [], "object": {}, "none": null}')
        return {
            null = panini.null, text = tostring(panini.null), decoded = decoded, same = decoded.none == panini.null,
            array = t, plain = {}, holes = { 1, panini.null, 3 },
        }
        """,
    )
    assert client.request("run").json == {
        "null": None,
        "text": "null",
        "decoded": {"list": [], "object": {}, "none": None},
        "same": True,
        "array": [],
        "plain": {},
        "holes": [1, None, 3],
    }


def test_json_codec(service, client):
    lua(
        service,
        """
        local value = panini.json.decode('{"a": [1, 2.5, "x", true, null]}')
        local bad = { pcall(panini.json.decode, "{oops") }
        local unsendable = { pcall(panini.json.encode, { a = { b = { 1, print } } }) }
        local nilerr = { panini.json.decode('[1]') }
        return { text = panini.json.encode(value), decode_failed = bad[1] == false or bad[2] == nil,
                 encode_ok = unsendable[1], problem = tostring(unsendable[2]), first = nilerr[1][1] }
        """,
    )
    answer = client.ask("run")
    assert json.loads(answer["text"]) == {"a": [1, 2.5, "x", True, None]}
    assert answer["decode_failed"] is True
    assert answer["encode_ok"] is False
    assert "a.b[2]" in answer["problem"]
    assert answer["first"] == 1


def test_uuid(service, client):
    lua(service, "return { a = panini.uuid(), b = panini.uuid() }")
    answer = client.ask("run")
    for text in answer.values():
        assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", text)
    assert answer["a"] != answer["b"]


def test_clocks(service, client):
    lua(service, "local a = panini.monotonic() return { now = panini.now(), a = a, b = panini.monotonic() }")
    answer = client.ask("run")
    assert abs(answer["now"] - time.time()) < 120
    assert answer["b"] >= answer["a"]


@pytest.mark.parametrize("data", [b"", b"a", b"ab", b"abc", b"\x00\xff\xfe", bytes(range(256)) * 3])
def test_base64(service, client, data):
    service("""
        app.listen("run", { data_type = "bytes" }, function(msg)
            local data = msg.data or ""
            local encoded = panini.base64.encode(data)
            return { encoded = encoded, same = panini.base64.decode(encoded) == data }
        end)
    """)
    assert client.request("run", data).json == {
        "encoded": base64.b64encode(data).decode(),
        "same": True,
    }


def test_bad_base64(service, client):
    lua(
        service,
        """
        local results = {}
        for i, text in ipairs{ "a", "ab=c", "!!!!", "YQ", "YQ==YQ==" } do
            local ok, value = pcall(panini.base64.decode, text)
            results[i] = { accepted = ok and value ~= nil and value ~= "a" }
        end
        return results
        """,
    )
    assert client.ask("run") == [{"accepted": False}] * 5


def test_require_beside_the_script(service, client):
    service(
        """
        local shop = require "shop"
        local again = require "shop"
        local deep = require "lib.deep.util"
        app.listen("buy", function(msg)
            return { price = shop.price(msg.data.n), same = shop == again, deep = deep.name, loaded = shop.loaded() }
        end)
        """,
        files={
            "shop.lua": 'local util = require "lib.util"\nlocal count = 0\ncount = count + 1\n'
            "return { price = function(n) return util.double(n) end, loaded = function() return count end }",
            "lib/util.lua": "return { double = function(n) return n * 2 end }",
            "lib/deep/util.lua": 'return { name = ... }',
        },
    )
    assert client.ask("buy", {"n": 21}) == {"price": 42, "same": True, "deep": "lib.deep.util", "loaded": 1}


def test_a_module_may_wait(service, client):
    client.responder("settings", lambda m: {"limit": 5})
    service(
        """
        CURRENT_APP = app
        app.listen("limit", function(msg) return { limit = require("settings").limit } end)
        """,
        files={"settings.lua": 'CURRENT_APP.sleep(0.01)\nreturn assert(CURRENT_APP.request("settings", {}))'},
    )
    # Several at once: whoever comes while the module loads waits for it.
    inboxes = client.collect("limit", [b"{}", b"{}", b"{}"])
    assert client.ask("limit") == {"limit": 5}
    for inbox in inboxes:
        assert inbox.next().json == {"limit": 5}


@pytest.mark.parametrize(
    "files, script, words",
    [
        ({}, 'require "absent"', ["absent", "test.lua:2"]),
        ({"broken.lua": "return ("}, 'require "broken"', ["broken.lua:1"]),
        ({"raises.lua": "\nerror('while loading')"}, 'require "raises"', ["raises.lua:2", "while loading"]),
        ({"a.lua": 'return require "b"', "b.lua": 'return require "a"'}, 'require "a"', ["a", "b"]),
        ({}, 'require "../etc"', ["etc"]),
        ({}, "require(5.5)", ["test.lua:2"]),
        ({}, "require {}", ["test.lua:2"]),
        ({}, 'require ""', ["test.lua:2"]),
    ],
)
def test_require_that_fails(check, files, script, words):
    result = check(script, files=files)
    assert result.returncode == 1
    for word in words:
        assert word in result.stderr, result.stderr
    assert "Fatal" not in result.stderr


def test_require_from_another_folder(tmp_path):
    """Modules lie beside the script, not where the caller stands."""
    folder = tmp_path / "service"
    folder.mkdir()
    (folder / "main.lua").write_text('require "part" panini.app{ service_name = "test" }')
    (folder / "part.lua").write_text("return {}")
    assert panini("check", folder / "main.lua", cwd="/").returncode == 0


def test_a_failed_require_can_be_caught(service, client):
    lua(
        service,
        """
        local ok, problem = pcall(require, "nowhere")
        return { ok = ok, problem = tostring(problem) }
        """,
    )
    answer = client.ask("run")
    assert answer["ok"] is False and "nowhere" in answer["problem"]
