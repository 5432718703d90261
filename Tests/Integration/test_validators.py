"""Validators from outside: what is refused, where, how it is answered, and that the schema says the same."""

import itertools
import json
import random

import jsonschema
import pytest

from harness import assert_error, wait_until
from test_mistakes import refused

FIELDS = """
local inner = panini.validator({ id = { type = "integer" }, tag = { type = "string", optional = true } },
    { unknown = "refuse" })
local v = panini.validator{
    age = { type = "integer", min = 0, max = 150 },
    name = panini.field{ type = "string", min = 2, max = 4 },
    kind = { type = "string", enum = { "a", "b" }, null = true, optional = true },
    code = { type = "string", pattern = "%u%d+", optional = true },
    rate = { type = "number", default = 0.5 },
    flag = { type = "boolean", optional = true },
    any = { type = "any", optional = true },
    key6 = { type = inner, optional = true },
    items = { type = "array", items = { type = inner }, max = 3, optional = true },
    words = { type = "string", many = true, max = 3, optional = true },
    free = { type = "object", optional = true },
}
"""

SERVICE = FIELDS + """
app.listen("check", { validator = v }, function(msg) return msg.data end)
app.listen("schema", function() return v:json_schema() end)
"""


def violations(reply):
    assert_error(reply, 422)
    return {(v["path"], v["code"]) for v in reply.json["errors"]}


BASE = {"age": 5, "name": "Ada"}
CASES = [
    ({}, set()),
    ({"age": 5.0}, set()),
    ({"age": 5.5}, {("age", "type")}),
    ({"age": True}, {("age", "type")}),
    ({"age": "5"}, {("age", "type")}),
    ({"age": None}, {("age", "null")}),
    ({"age": -1}, {("age", "min")}),
    ({"age": 151}, {("age", "max")}),
    ({"name": "ääää"}, set()),
    ({"name": "ä"}, {("name", "min")}),
    ({"name": "äääää"}, {("name", "max")}),
    ({"kind": "a"}, set()),
    ({"kind": "c"}, {("kind", "enum")}),
    ({"kind": None}, set()),
    ({"code": "A12"}, set()),
    ({"code": "A12x"}, {("code", "pattern")}),
    ({"flag": 0}, {("flag", "type")}),
    ({"any": None}, {("any", "null")}),
    ({"any": [1]}, set()),
    ({"rate": 1}, set()),
    ({"rate": "1"}, {("rate", "type")}),
    ({"key6": {"id": 1}}, set()),
    ({"key6": {"id": "x", "more": 1}}, {("key6.id", "type"), ("key6.more", "unknown")}),
    ({"key6": []}, {("key6", "type")}),
    ({"items": []}, set()),
    ({"items": [{"id": 1}, {"id": 2}, {}]}, {("items[3].id", "required")}),
    ({"items": [{"id": 1}] * 4}, {("items", "max")}),
    ({"items": {"a": 1}}, {("items", "type")}),
    ({"words": ["a", "bb"]}, set()),
    ({"words": ["a", 2, "cccc"]}, {("words[2]", "type"), ("words[3]", "max")}),
    ({"free": {"x": 1}}, set()),
    ({"free": [1]}, {("free", "type")}),
    ({"other": 1}, set()),
]


def test_violations_and_the_schema_agree(service, client):
    service(SERVICE)
    schema = client.ask("schema")
    jsonschema.Draft202012Validator.check_schema(schema)
    reader = jsonschema.Draft202012Validator(schema)
    for change, expected in CASES:
        value = {**BASE, **change}
        reply = client.request("check", value)
        if expected:
            assert violations(reply) == expected, change
        else:
            assert reply.json == {"rate": 0.5, **value}, change
        assert reader.is_valid(value) == (not expected), change
    for one, other in itertools.combinations([c for c in CASES if c[1]], 2):
        if not set(one[0]) & set(other[0]):
            assert violations(client.request("check", {**BASE, **one[0], **other[0]})) == one[1] | other[1]


# What JSON has two of and Lua one: an empty array is no object, an empty object no array, wherever they stand.
EMPTIES = """
local inner = panini.validator{ list = { type = "array", optional = true }, map = { type = "object", optional = true } }
local v = panini.validator{
    list = { type = "array", optional = true }, map = { type = "object", optional = true },
    numbers = { type = "integer", many = true, optional = true }, lists = { type = "array", many = true, optional = true },
    maps = { type = "object", many = true, optional = true }, inner = { type = inner, optional = true },
    inners = { type = inner, many = true, optional = true }, either = { type = "any", optional = true },
    bounded = { type = "array", min = 0, max = 2, items = { type = "array" }, optional = true },
    maybe = { type = "array", null = true, optional = true }, filled = { type = "array", default = {} },
    made = { type = "object", default = {} },
}
app.listen("check", { validator = v }, function(msg) return msg.data end)
app.listen("decoded", { data_type = "string" }, function(msg)
    local value, found = v:validate(panini.json.decode(msg.data))
    return value or { errors = found }
end)
app.listen("middle", { validator = v, middlewares = { { listen_request = function(msg, callback)
    -- Tables that the script makes have no kind of their own as long as they are empty.
    msg.data = { list = {}, map = {}, numbers = {}, inner = {}, filled = {}, made = {} }
    return callback(msg)
end } } }, function(msg) return { ok = true } end)
app.listen("schema", function() return v:json_schema() end)
app.listen("used", function(msg)
    -- What was read may be used as any table: filled, given a metatable, handed on.
    local list, map = msg.data.a, msg.data.b
    list[1], map.x = 1, 2
    local empty = msg.data.c
    empty[1] = "now a list"
    local class = setmetatable(msg.data.d, { __index = { y = 3 } })
    assert(getmetatable(msg.data.e) == nil and next(msg.data.e) == nil and #msg.data.e == 0)
    local function copied(value)
        if type(value) ~= "table" then return value end
        local copy = {}
        for key, item in next, value do copy[copied(key)] = copied(item) end
        return setmetatable(copy, copied(getmetatable(value)))
    end
    assert(panini.json.encode(copied(panini.json.decode('{"a":{"b":{}}}'))) == '{"a":{"b":{}}}')
    assert(getmetatable({}) == nil and getmetatable(setmetatable({}, { __metatable = 5 })) == 5)
    assert(app.shared.set("e", { inner = msg.data.e }) and next(app.shared.get("e").inner) == nil)
    return { list, map, empty, class.y, msg.data.e, panini.array(msg.data.f) }
end)
"""


def test_empty_containers_are_what_json_says(service, client):
    service(EMPTIES)
    schema = client.ask("schema")
    jsonschema.Draft202012Validator.check_schema(schema)
    reader = jsonschema.Draft202012Validator(schema)
    generator = random.Random(16)
    scalars = [None, True, 0, 7, -1, 1.5, "", "x"]
    names = ["list", "map", "numbers", "lists", "maps", "inner", "inners", "either", "bounded", "maybe", "filled", "made"]

    def value(depth):
        kind = generator.random()
        if kind < 0.3 or depth > 3:
            return generator.choice([[], {}])
        if kind < 0.5:
            return generator.choice(scalars)
        if kind < 0.75:
            return [value(depth + 1) for _ in range(generator.randrange(3))]
        return {generator.choice(names): value(depth + 1) for _ in range(generator.randrange(3))}

    # Each field alone with each empty container, then whatever comes.
    documents = [{name: made} for name in names for made in ([], {}, [[]], [{}], {"list": {}}, {"list": []}, {"map": []})]
    documents += [{generator.choice(names): value(1) for _ in range(generator.randrange(1, 4))} for _ in range(400)]
    wrong = []
    for document in documents:
        expected = reader.is_valid(document)
        for subject in ("check", "decoded"):
            reply = client.request(subject, json.dumps(document))
            accepted = "Nats-Service-Error" not in reply.headers and "errors" not in reply.json
            if accepted != expected:
                wrong.append((subject, document, reply))
            elif accepted:
                assert reply.json == {"filled": [], "made": {}, **document}
    assert not wrong, wrong[:5]
    assert sum(map(reader.is_valid, documents)) > 50
    assert client.ask("middle") == {"ok": True}
    message = client.request("check", {"list": {}}).json
    assert message["errors"][0]["message"] == "must be an array, not an object"


def test_an_empty_object_that_was_read_is_a_table_as_any_other(service, client):
    service(EMPTIES)
    assert client.ask("used", {"a": {}, "b": {}, "c": {}, "d": {}, "e": {}, "f": {}}) == [
        [1], {"x": 2}, ["now a list"], 3, {}, [],
    ]


@pytest.mark.parametrize("payload, path, code", [(b"", "", "required"), (b"null", "", "null"), (b"[1]", "", "type"), (b"5", "", "type")])
def test_the_whole_value(service, client, payload, path, code):
    service(SERVICE)
    assert violations(client.request("check", payload)) == {(path, code)}
    assert_error(client.request("check", b"{"), 400)


def test_on_invalid_answers_and_may_wait(service, client):
    service("""
        local v = panini.validator{ n = { type = "integer" } }
        local ran = 0
        app.listen("own", { validator = v, on_invalid = function(msg, list)
            app.sleep(0.01)
            if msg.subject == "own" and list[1].code == "required" then return { path = list[1].path } end
            if list[1].code == "null" then return nil, { code = 418, message = "teapot" } end
        end }, function() ran = ran + 1 return { ran = ran } end)
    """)
    assert client.ask("own", {}) == {"path": "n"}
    assert_error(client.request("own", {"n": None}), 418, "teapot")
    assert violations(client.request("own", {"n": "x"})) == {("n", "type")}
    assert client.ask("own", {"n": 1}) == {"ran": 1}


@pytest.mark.parametrize("change", [
    "list[1] = nil", "list[1] = 7", "list[1].path = nil", "list[1].message = {}",
    "for k in pairs(list) do list[k] = nil end", "setmetatable(list, { __index = error })",
])
def test_on_invalid_may_change_the_list(service, client, change):
    """What it does to the list is the script's own loss: the message is answered, and the process goes on."""
    service(f"""
        local v = panini.validator{{ n = {{ type = "integer" }} }}
        app.listen("own", {{ validator = v, on_invalid = function(msg, list) {change} end }}, function() return {{ ok = true }} end)
    """)
    assert_error(client.request("own", {"n": "x"}), 422)
    assert client.ask("own", {"n": 1}) == {"ok": True}


def test_unknown_keys_of_a_weak_table(service, client):
    """Keys that the collector takes while they are counted are not reported, and nothing is read in their place."""
    service("""
        local v = panini.validator({ a = { type = "any", optional = true } }, { unknown = "refuse", max_violations = 10000 })
        app.listen("weak", function()
            local value, hold, pad = setmetatable({}, { __mode = "v" }), {}, {}
            for i = 1, 10000 do local x = {} hold[i] = x value["k" .. i] = x end
            value.kept, hold = 1, nil
            -- At the limit of memory the collector runs in the middle of the validation.
            for i = 1, 1000 do
                if 16 * 2 ^ 20 - collectgarbage("count") * 1024 < 400000 then break end
                pad[i] = ("x"):rep(50000) .. i
            end
            local fine, _, list = pcall(v.validate, v, value)
            for _, one in ipairs(fine and list or {}) do
                assert(one.path == "kept" or one.path:match("^k%d+$"), one.path)
            end
            return { ok = true }
        end)
    """, options='limits = { memory = "16MB" }')
    for _ in range(5):
        assert client.ask("weak", {}) == {"ok": True}


def test_visits_without_an_end(service, client):
    """A table that is held many times is visited as often: the budget ends that, and the service goes on."""
    service("""
        local items = { type = "any" }
        for i = 1, 7 do items = { type = "array", items = items } end
        local v = panini.validator{ a = items }
        app.listen("wide", function()
            local t = 1
            for i = 1, 7 do local list = {} for k = 1, 100 do list[k] = t end t = list end
            return v:validate{ a = t }
        end)
        app.listen("fine", function() return { ok = true } end)
    """, options="limits = { cpu = 0.2 }")
    assert_error(client.request("wide", {}), 504)
    assert client.ask("fine", {}) == {"ok": True}


def test_one_way_messages_are_logged_and_counted(service, client):
    running = service("""
        local v = panini.validator{ n = { type = "integer" } }
        app.listen("oneway", { validator = v }, function(msg) app.publish("oneway.ran", msg.data) end)
    """)
    ran = client.subscribe("oneway.ran")
    client.publish("oneway", b"{}")
    client.publish("oneway", b'{"n": "x"}')
    client.publish("oneway", b'{"n": 3}')
    assert ran.next().json == {"n": 3}
    wait_until(lambda: "2 invalid so far" in running.output, "the second is counted")
    assert "n is missing" in running.output and "1 invalid so far" in running.output


def test_checks(service, client):
    service("""
        local v = panini.validator{
            even = { type = "integer", check = function(n)
                app.sleep(0.001)
                if n == 13 then error("broken check") end
                if n == 15 then return end
                return n % 2 == 0, "must be even"
            end },
            list = { type = "integer", many = true, optional = true, check = function(n) return n > 0 end },
        }
        app.listen("checked", { validator = v }, function(msg) return { ok = true } end)
    """)
    assert client.ask("checked", {"even": 2}) == {"ok": True}
    reply = client.request("checked", {"even": 3, "list": [1, -1]})
    assert violations(reply) == {("even", "check"), ("list[2]", "check")}
    assert "must be even" in [v["message"] for v in reply.json["errors"]]
    assert violations(client.request("checked", {"even": "x"})) == {("even", "type")}
    assert_error(client.request("checked", {"even": 13}), 500, "internal error")
    assert_error(client.request("checked", {"even": 15}), 500, "internal error")


def test_by_hand_and_errors_in_replies(service, client):
    service("""
        local v = panini.validator({ n = { type = "integer", default = 7 }, m = { type = "object", default = { a = {} } } },
            { max_violations = 2 })
        local w = panini.validator{ list = { type = "integer", many = true } }
        app.listen("hand", function(msg)
            local value, list = v:validate(msg.data)
            if not value then error{ code = 409, message = "no", errors = list } end
            value.m.a.touched = true
            return value
        end)
        app.listen("returned", function(msg)
            return nil, { code = 410, message = "gone", errors = { { path = "x", code = "y", message = "z" } } }
        end)
        app.listen("huge", function(msg)
            return nil, { code = 411, message = "much", errors = { string.rep("x", 3000000) } }
        end)
        app.listen("many", function(msg)
            local bounded = panini.validator({ list = { type = "integer", many = true } }, { max_violations = 2 })
            local _, list = bounded:validate{ list = { "a", "b", "c", "d" } }
            local _, all = w:validate{ list = { "a", "b", "c" } }
            return { #list, list[3].code, #all }
        end)
    """)
    # A default that is a table is each message's own.
    for _ in range(2):
        assert client.ask("hand", {}) == {"n": 7, "m": {"a": {"touched": True}}}
    reply = client.request("hand", {"n": "x"})
    assert_error(reply, 409, "no")
    assert reply.json["errors"][0]["path"] == "n"
    reply = client.request("returned")
    assert_error(reply, 410, "gone")
    assert reply.json["errors"] == [{"path": "x", "code": "y", "message": "z"}]
    reply = client.request("huge")
    assert_error(reply, 411, "much")
    assert "errors" not in reply.json
    assert client.ask("many") == [3, "too_many", 3]


def test_a_pathological_pattern_ends(service, client):
    service("""
        local v = panini.validator{ s = { type = "string", pattern = ".-.-.-.-.-.-.-.-b" } }
        app.listen("slow", { validator = v }, function() return { ok = true } end)
    """)
    assert client.ask("slow", {"s": "aaab"}) == {"ok": True}
    assert violations(client.request("slow", {"s": "a" * 5000})) == {("s", "pattern")}


MISTAKES = [
    ("panini.validator(5)", ["table"]),
    ("panini.validator{ { type = 'string' } }", ["names"]),
    ("panini.validator{ x = 'string' }", ["x", "table"]),
    ("panini.validator{ x = {} }", ["x", "type"]),
    ("panini.validator{ x = { typ = 'string' } }", ["x", "typ", "type"]),
    ("panini.validator{ x = { type = 'strin' } }", ["strin", "string"]),
    ("panini.validator{ x = { type = 'int' } }", ["int", "integer"]),
    ("panini.validator{ x = { type = { } } }", ["validator"]),
    ("panini.validator{ x = { type = 'integer', min = 2, max = 1 } }", ["x", "min"]),
    ("panini.validator{ x = { type = 'string', min = -1 } }", ["length"]),
    ("panini.validator{ x = { type = 'boolean', min = 1 } }", ["min", "boolean"]),
    ("panini.validator{ x = { type = 'string', pattern = '[a' } }", ["[a", "]"]),
    ("panini.validator{ x = { type = 'string', pattern = '(a' } }", ["capture"]),
    ("panini.validator{ x = { type = 'integer', pattern = 'a' } }", ["pattern"]),
    ("panini.validator{ x = { type = 'integer', default = 'a' } }", ["x", "default", "integer"]),
    ("panini.validator{ x = { type = 'integer', default = panini.null } }", ["default", "null"]),
    ("panini.validator{ x = { type = 'any', default = print } }", ["default"]),
    ("panini.validator{ x = { type = 'string', enum = {} } }", ["enum"]),
    ("panini.validator{ x = { type = 'string', enum = { 1 } } }", ["enum", "1"]),
    ("panini.validator{ x = { type = 'string', items = { type = 'string' } } }", ["items"]),
    ("panini.validator{ x = { type = 'array', items = { type = 'string', optional = true } } }", ["element"]),
    ("panini.validator{ x = { type = 'string', check = true } }", ["check", "function"]),
    ("panini.validator{ x = { type = 'string', many = 1 } }", ["many"]),
    ("panini.validator({}, { unknown = 'drop' })", ["unknown", "refuse"]),
    ("panini.validator({}, { unkown = 'refuse' })", ["unkown", "unknown"]),
    ("panini.validator({}, { max_violations = 0 })", ["max_violations"]),
    ("panini.field{ type = 'nope' }", ["nope"]),
    ("panini.field('string')", ["table"]),
    ("panini.validator{}.validate({})", ["colon"]),
    ("app.listen('a', { validator = {} }, function() end)", ["validator"]),
    ("app.listen('a', { on_invalid = print }, function() end)", ["on_invalid", "validator"]),
    ("app.listen('a', { validator = panini.validator{}, data_type = 'bytes' }, function() end)", ["data_type"]),
    ("local v = panini.validator{} for _ = 1, 40 do v = panini.validator{ v = { type = v } } end", ["nested"]),
    ("local v = panini.validator{ a = { type = 'any' } } for _ = 1, 20 do v = panini.validator{ a = { type = v }, b = { type = v } } end", ["fields"]),
]


@pytest.mark.parametrize("text, words", MISTAKES, ids=[m[0][:60] for m in MISTAKES])
def test_mistakes(check, text, words):
    message = refused(check("\n" + text), "test.lua:", *words)
    assert "traceback" not in message
