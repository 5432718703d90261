"""Small doors of Lua: what a script could reach, end or outlast by way of what the host hands to it."""

import json
import pathlib
import re
import time
import urllib.request

import pytest
from websockets.sync.client import connect

from harness import PATIENCE, free_port
from test_limits import failure


ENDED = """
    local function guard(name)
        return setmetatable({}, { __close = function() print("CLOSED " .. name) while true do end end })
    end
    local late = "local m = {} local t = setmetatable({}, m) m.__mode = 'k' while true do local k = {} t[k] = k end"
    local ends = { time = function() while true do end end, late = load(late, "=late") }
    local kept = {}
    app.listen("end.{how}", function(msg)
        local how = msg.params.how
        kept[how] = coroutine.create(function() local _ <close> = guard(how) ends[how]() end)
        coroutine.resume(kept[how])
    end)
    app.listen("waited.{how}", function(msg)
        local how = msg.params.how
        kept[how] = coroutine.create(function() local _ <close> = guard(how) app.sleep(0.01) ends[how]() end)
        coroutine.resume(kept[how])
    end)
    app.listen("self.{how}", function(msg) local _ <close> = guard("handler") ends[msg.params.how]() end)
    app.listen("close.{how}", function(msg) return { coroutine.close(kept[msg.params.how]) } end)
    app.listen("ok", function() return { ok = true } end)
"""


@pytest.mark.parametrize("how", ["time", "late"])
def test_a_coroutine_that_was_ended_by_force_stays_dead(how, service, client):
    running = service(ENDED, options="limits = { cpu = 0.1 }")
    for subject in ("end", "waited", "self"):
        assert failure(client, f"{subject}.{how}")["code"] == 504
        assert client.ask("ok", timeout=PATIENCE) == {"ok": True}
        if subject == "self":
            continue
        for _ in range(2):
            assert client.ask(f"close.{how}", timeout=PATIENCE)[0] is False
            assert client.ask("ok", timeout=PATIENCE) == {"ok": True}
    running.stop()
    assert "CLOSED" not in running.output


def test_weak_tables_that_pass_the_count_end_their_run(service, client):
    service(
        """
        local N = 120000
        local key, weak, late, mode = {}, setmetatable({}, { __mode = "k" }), {}, { __mode = false }
        setmetatable(late, mode)
        local text = "[" .. ("[1,2],"):rep(100000) .. "0]"
        app.listen("fill", function() for i = 1, N do key[i] = {} weak[key[i]] = true end return "filled" end)
        app.listen("change", function()
            for i = 1, N - 1 do if weak[key[i]] then weak[key[i]] = key[i + 1] end end
            for i = 1, N do key[i] = false end
            return #panini.json.decode(text)
        end)
        app.listen("late", function()
            local own = {}
            for i = 1, N do own[i] = {} end
            for i = 1, N - 1 do late[own[i]] = own[i + 1] end
            own = nil
            mode.__mode = "k"
            pcall(string.rep, "x", 63 * 2 ^ 20)
            return "came back"
        end)
        app.listen("ok", function() return { ok = true } end)
        """,
        options="limits = { cpu = 2, memory = '64MB' }",
    )
    for subject in ("fill", "change", "late"):
        # Whether it is ended or comes to its end by itself, it does so in time.
        begin = time.monotonic()
        reply = client.request(subject, b"{}", timeout=4 * PATIENCE)
        assert time.monotonic() - begin < 2 * PATIENCE, reply
        assert client.ask("ok", timeout=PATIENCE) == {"ok": True}
        if subject != "change":
            assert reply.json["code"] == 504, reply


def test_a_pattern_with_many_steps_ends_with_its_run(service, client):
    service(
        """
        local v = panini.validator({ a = { type = "string", pattern = ("a*"):rep(12) .. "b" } }, { pattern_steps = 1000000000 })
        app.listen("match", function(msg) return (v:validate{ a = ("a"):rep(2000) }) end)
        app.listen("guarded", { validator = v }, function() return "valid" end)
        app.listen("time", function() return os.clock() end)
        """,
        options="limits = { cpu = 0.2 }",
    )
    for subject, data in (("match", {}), ("guarded", {"a": "a" * 2000})):
        before = client.ask("time")
        assert failure(client, subject, json.dumps(data).encode())["code"] == 504
        assert client.ask("time") - before < 1.5


def test_a_text_of_the_size_of_a_table_is_no_table(service, client):
    service(
        """
        local full, pieces = {}, {}
        for n = 12, 18 do pieces[n] = ("x"):rep(24 * 2 ^ n // 1 - 26 | 0) end
        -- Ended where the table would become larger: it stays as it is, and has no room left.
        app.listen("fill", function() for i = 1, 2 ^ 17 + 1 do full[i * (2 ^ 18 - 1) // 1 | 0] = true end end)
        app.listen("text", function()
            local t, lengths = full, {}
            for n = 12, 18 do
                local text = pieces[n] .. "y"
                lengths[#lengths + 1] = #text
            end
            return lengths
        end)
        """,
        options="limits = { cpu = 1 }",
    )
    assert failure(client, "fill")["code"] == 504
    assert client.ask("text", timeout=PATIENCE) == [24 * 2**n - 25 for n in range(12, 19)]


def mappings(pid):
    """Where the program, its libraries and its memory lie."""
    ranges = []
    for line in pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines():
        begin, end = re.match(r"([0-9a-f]+)-([0-9a-f]+)", line).groups()
        ranges.append((int(begin, 16), int(end, 16)))
    return ranges


def test_no_text_shows_an_address(service, client):
    running = service(
        r"""
        local kept = { {}, {}, print, string.rep, function() end, coroutine.create(print), io.stdout, panini.validator{} }
        kept[#kept + 1] = app.listen("x", print)
        kept[#kept + 1] = select(2, panini.json.decode("{"))
        app.listen("texts", function(msg)
            local texts = {}
            local function add(text) texts[#texts + 1] = text end
            for _, value in ipairs(kept) do
                add(tostring(value)) add(("%p"):format(value)) add(("%s|%20p|%-20p"):format(value, value, value))
            end
            add(tostring(msg)) add(tostring(next)) add(("%p"):format("a text")) add(("%p"):format(("x"):rep(100)))
            add(tostring(debug.upvalueid(function() return kept end, 1)))
            for _, call in ipairs{
                function() panini[{}] = 1 end, function() app[print] = 1 end, function() string[{}] = string.rep end,
                function() error({}) end, function() return {} .. {} end, function() return #print end, function() kept() end,
                function() table.concat({ {} }) end, function() return {} < {} end, function() ("x"):rep({}) end,
                function() app.publish({}, {}) end, function() app.listen(print, print) end, function() panini.env({}) end,
            } do
                local _, text = pcall(call)
                local _, trace = xpcall(call, function(e) return debug.traceback(tostring(e)) end)
                add(tostring(text)) add(tostring(trace))
            end
            local seed = { math.randomseed() }
            add(("%x"):format(seed[1])) add(("%x"):format(seed[2]))
            local first, second = tostring(kept[1]), ("%p"):format(kept[1])
            for i = 1, 100000 do local x = { i } end
            return {
                texts = texts, stable = first == tostring(kept[1]) and first == "table: " .. second and second == ("%p"):format(kept[1]),
                unique = tostring(kept[1]) ~= tostring(kept[2]), null = ("%p"):format(5),
                wrong = { pcall(string.format, "%010p", {}) }, plain = ("%5.1f|%-5d|%q|%%|%s"):format(1.25, 3, "x", nil),
            }
        end)
        """
    )
    answer = client.ask("texts", {})
    assert answer["stable"] and answer["unique"] and answer["null"] == "(null)"
    assert answer["wrong"][0] is False and "invalid conversion" in answer["wrong"][1]
    assert answer["plain"] == '  1.2|3    |"x"|%|nil'
    ranges = mappings(running.process.pid)
    numbers = [int(digits, 16) for text in answer["texts"] for digits in re.findall(r"\b(?:0x)?([0-9a-f]{8,16})\b", text)]
    assert len(numbers) > 20
    assert not [hex(number) for number in numbers if any(begin <= number < end for begin, end in ranges)]
