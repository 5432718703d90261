"""A record shows whatever a script puts into it, within bounds, and never fails who logs."""

import json
import re

STRANGE = """
local cyclic = { name = "loop" }
cyclic.itself = cyclic
local deep = {}
do local at = deep for i = 1, 50 do at.down = {} at = at.down end end
local wide = {}
for i = 1, 100000 do wide[i] = i end
local failing = setmetatable({}, { __tostring = function() error("mute") end })
local never = setmetatable({ kept = 1 }, {
    __index = function() error("index") end, __pairs = function() error("pairs") end, __len = function() error("len") end,
})
local endless = setmetatable({}, { __tostring = function() return ("x"):rep(3000000) end })
values = {
    { "cyclic", cyclic }, { "gap", { 1, nil, 3 } }, { "mixed", { 1, 2, name = "x" } }, { "function", print },
    { "own function", function() end }, { "nan", 0 / 0 }, { "infinity", 1 / 0 }, { "bytes", "\\xff\\xfe" }, { "deep", deep },
    { "wide", wide }, { "failing", failing }, { "never", never }, { "null", panini.null }, { "thread", coroutine.create(print) },
    { "handle", app.listen("handle", print) }, { "keys", { [true] = 1, [1.5] = 2, [{}] = 3 } }, { "long", ("x"):rep(200000) },
    { "long key", { [("k"):rep(100000)] = 1 } }, { "endless", endless }, { "app", app }, { "err", select(2, pcall(error, { code = 5 })) },
    { "control", "a\\0b\\27[0m" }, { "list", { "a", { 1, 2 } } }, { "empty", {} }, { "nil", nil },
}
for i, pair in ipairs(values) do
    app.logger.info(pair[1] .. " as a field", { before = 1, value = pair[2], after = 2 })
    app.logger.info(pair[1] .. " for fields", pair[2])
    app.logger.info(pair[2])
    app.logger.exception(pair[2], pair[2], pair[2])
    print(pair[1], pair[2])
end
app.logger.info()
app.logger:info(nil, nil)
app.logger.info("more", { a = 1 }, "and", 3)
app.logger.info("number", 5)
app.logger.error({ message = "a table", list = { 1, 2 }, ["odd key"] = true })
print({ x = 1, y = { "a", "b" } }, "text", nil)
app.logger.info("the end")
"""


def lines(folder):
    """All lines of the service's log, those of files that were rotated included."""
    parts = sorted(folder.glob("test.log*"), key=lambda path: int(path.suffix[1:]) if path.suffix != ".log" else 0)
    return [line for path in reversed(parts) for line in path.read_text(encoding="utf-8").split("\n") if line]


def test_no_value_fails_who_logs_it(service):
    running = service(STRANGE)
    running.stop()
    written = lines(running.path.parent / "logs")
    all_records = [json.loads(line) for line in written]
    assert any(r["message"] == "the end" for r in all_records)
    by_text = {r["message"]: r for r in all_records}
    fields = {text.removesuffix(" as a field"): r["extra"] for text, r in by_text.items() if text.endswith(" as a field")}
    assert len(fields) == 25 and all(f["before"] == 1 and f["after"] == 2 for f in fields.values())
    assert fields["cyclic"]["value"] == {"itself": "(a table that contains itself)", "name": "loop"}
    assert fields["gap"]["value"] == {"[1]": 1, "[3]": 3}
    assert fields["mixed"]["value"] == {"[1]": 1, "[2]": 2, "name": "x"}
    assert fields["function"]["value"] == "(function of the host)"
    assert re.search(r"test\.lua:\d+\)$", fields["own function"]["value"])
    assert fields["nan"]["value"] in ("nan", "-nan") and fields["infinity"]["value"] == "inf"
    assert fields["bytes"]["value"] == "\ufffd\ufffd"
    assert "nested too deeply" in json.dumps(fields["deep"])
    assert len(fields["wide"]["value"]) <= 1001 and "left out" in fields["wide"]["value"][-1]
    assert "__tostring failed" in fields["failing"]["value"] and "mute" in fields["failing"]["value"]
    assert fields["never"]["value"] == {"kept": 1}
    assert fields["null"]["value"] == "null" or fields["null"]["value"] is None
    assert fields["thread"]["value"] == "(thread)" and fields["handle"]["value"] == "(panini.listener)"
    assert fields["keys"]["value"] == {"[true]": 1, "[1.5]": 2, "[(table)]": 3}
    assert fields["long"]["value"].endswith("... (200000 bytes)") and len(fields["long"]["value"]) < 70_000
    assert "(3000000 bytes)" in fields["endless"]["value"]
    assert fields["list"]["value"] == ["a", [1, 2]] and fields["empty"]["value"] == []
    # A record is bounded, whatever is in it.
    assert max(len(line) for line in written) < 3 << 20
    assert by_text["number"]["extra"] == {"argument_2": 5}
    assert by_text["more"]["extra"] == {"a": 1, "argument_3": "and", "argument_4": 3}
    assert '{ list = { 1, 2 }, message = "a table", ["odd key"] = true }' in by_text
    assert by_text['{ list = { 1, 2 }, message = "a table", ["odd key"] = true }']["levelname"] == "ERROR"
    assert '{ x = 1, y = { "a", "b" } }\ttext\tnil' in by_text
    assert "(no text)" in by_text and "nil" in by_text
    assert '{ itself = (a table that contains itself), name = "loop" }' in by_text
    assert any(r["message"].startswith("cyclic\t{ itself") for r in all_records)
    assert any(re.match(r"own function\t\(function .*test\.lua:\d+\)$", r["message"]) for r in all_records)
    assert "function\t(function of the host)" in by_text
    # And each has its traceback where it was asked for one.
    assert sum("exc_info" in r for r in all_records) == 25


def test_a_handler_that_logs_nonsense_answers_all_the_same(service, client):
    service("""
        app.listen("log", function(msg)
            local cyclic = { id = msg.data.id }
            cyclic.self = cyclic
            app.logger.info("received", { value = cyclic, msg = msg, list = { 1, nil, 3 } })
            app.logger.warning(msg)
            print(msg.data, msg)
            return { ok = true }
        end)
    """)
    assert client.ask("log", {"id": 7}) == {"ok": True}


def test_a_text_without_end_costs_its_run_and_nothing_else(service, client):
    running = service("""
        local forever = setmetatable({}, { __tostring = function() while true do end end })
        app.listen("log", function(msg) app.logger.info("x", { value = forever }) return { ok = true } end)
        app.listen("fine", function(msg) return { ok = true } end)
    """, options="limits = { cpu = 0.2 }")
    assert client.request("log").json["code"] == 504
    assert client.ask("fine") == {"ok": True}
    running.wait_for("CPU")
