"""Trusted and untrusted scripts, and workers that are stuck."""

import json
import os
import re
import signal
import time

from harness import PATIENCE, Client, panini, script_text, wait_until


def test_ordinary_scripts_have_no_files_and_trusted_ones_do(check, tmp_path):
    script = 'assert(not io.open("made.txt", "w") and not pcall(os.execute, "true") and not pcall(package.loadlib, "x", "y"))'
    assert check(script).returncode == 0
    text = """
        assert(os.execute("true") and #package.searchers == 4 and debug.getregistry())
        local file = assert(io.open("made.txt", "w"))
        file:write("by a script")
        file:close()
        string.trim = function(s) return s:match("^%s*(.-)%s*$") end
        assert((" x "):trim() == "x")
    """
    for argument in ("--trust", "--trust=test", "--trust=test.lua"):
        result = check(text, argument)
        assert result.returncode == 0, result.stderr
        assert result.stderr.count("test.lua is trusted: it may read and write files") == 1
        assert (tmp_path / "made.txt").read_text() == "by a script"
    assert check(text, "--trust=other").returncode == 1


def test_a_trusted_script_loads_modules_in_c(check, tmp_path):
    result = check(
        """
        assert(package.cpath ~= nil)
        local loaded, err = package.loadlib("no/such.so", "luaopen_x")
        assert(loaded == nil and err)
        local found, message = pcall(require, "no.such.module")
        assert(not found and message:find("not found"), message)
        assert(message:find("no file '[^\\n]*no/such/module.so'"), message)
        """,
        "--trust",
    )
    assert result.returncode == 0, result.stderr


def test_modules_in_c_run_in_handlers_and_keep_their_values_apart(start, nats_server):
    """LuaSQL keeps values in the registry, as the host does for each listener."""
    start(
        nats_server.url,
        """
        local json, path = require "cjson"
        assert(path:find("cjson.so") and package.loaded.cjson == json)
        local lpeg = require "lpeg"
        local digits = lpeg.C(lpeg.R"09" ^ 1)
        app.listen("ask", function(msg)
            local sqlite = require "luasql.sqlite3"
            local connection = assert(sqlite.sqlite3():connect(":memory:"))
            assert(connection:execute("create table t (a integer)"))
            local handles = {}
            for i = 1, 100 do
                handles[i] = app.listen("dynamic." .. i, function() return i end)
                assert(connection:execute("insert into t values (" .. i .. ")"))
            end
            for i = 1, 100, 2 do handles[i].unsubscribe() end
            local cursors = {}
            for i = 1, 20 do cursors[i] = assert(connection:execute("select sum(a) from t where a <= " .. i)) end
            app.sleep(0.01)
            local sums = {}
            for i, cursor in ipairs(cursors) do sums[i] = cursor:fetch() cursor:close() end
            connection:close()
            return { sums = sums, text = json.encode{ 1, "zz" }, digits = digits:match("42x") }
        end)
        """,
        arguments=["--trust"],
        env={"LUA_PATH": ";;", "LUA_CPATH": ";;"},
    )
    client = Client(nats_server.url)
    for _ in range(3):
        answer = client.ask("ask", {})
        assert answer["sums"] == [n * (n + 1) // 2 for n in range(1, 21)] and answer["text"] == '[1,"zz"]' and answer["digits"] == "42"
        assert client.ask("dynamic.2", {}) == 2
    client.close()


def test_wrong_uses_of_trust_are_told(check):
    assert check("", "--trust", "--untrusted").returncode == 2
    assert check("", "--allow-env", "X").returncode == 2
    assert check("", "--untrusted", "--allow-listen", "a..b").returncode == 2
    assert check("", "--trusted").returncode == 2
    # Untrusted by name, trusted by the rest.
    assert check('assert(not io.open("test.lua"))', "--trust", "--untrusted=test").returncode == 0


def test_names_that_are_none_of_the_scripts_are_refused(tmp_path):
    """A script whose name is misspelt would be an ordinary one, and nothing would show it."""
    script = tmp_path / "spy.lua"
    script.write_text('panini.app{ service_name = "spy" }\nassert(not pcall(panini.env, "HOME"))\n')
    (tmp_path / "spy_test.lua").write_text('test("x", function(t) end)\n')
    for command in (["check", "spy.lua"], ["run", "spy.lua"], ["dev", "spy.lua"], ["run", "."], ["test", "spy_test.lua"]):
        for flag in ("--untrusted=spi", "--untrusted=Spy", "--untrusted=other/spy.lua", "--untrusted=spy.lu"):
            result = panini(*command, flag, cwd=tmp_path, timeout=60)
            assert result.returncode == 2, (command, flag, result.stderr)
            assert f"{flag}: no script is named so" in result.stderr and "spy.lua" in result.stderr, result.stderr
    result = panini("check", "spy.lua", "--trust=spi", cwd=tmp_path)
    assert "--trust=spi: no script is named so; there are spy.lua" in result.stderr, result.stderr
    for name in ("spy", "spy.lua", "./spy.lua", str(script), f"../{tmp_path.name}/spy.lua"):
        assert panini("check", "spy.lua", f"--untrusted={name}", cwd=tmp_path).returncode == 0, name


def test_untrusted_scripts_get_only_what_is_allowed(check, tmp_path):
    os.environ["SECRET_OF_THE_TEST"] = "x"
    try:
        read = 'assert(panini.env("SECRET_OF_THE_TEST") == "x")'
        result = check(read, "--untrusted")
        assert result.returncode == 1
        assert "test.lua:2: panini.env: the script may not read SECRET_OF_THE_TEST (--allow-env SECRET_OF_THE_TEST)" in result.stderr
        assert check(read, "--untrusted", "--allow-env", "SECRET_OF_THE_TEST").returncode == 0
        assert check(read).returncode == 0
    finally:
        del os.environ["SECRET_OF_THE_TEST"]

    listen = 'app.listen("orders.{id}.paid", function() end)'
    result = check(listen, "--untrusted")
    assert "test.lua:2: app.listen: the script may not listen to orders.*.paid (--allow-listen orders.*.paid)" in result.stderr
    for allowed in ("orders.>", "orders.*.*", "orders.*.paid", ">"):
        assert check(listen, "--untrusted", "--allow-listen", allowed).returncode == 0, allowed
    for other in ("orders.*", "orders.1.paid", "orders", "invoices.>", "orders.*.paid.>"):
        assert check(listen, "--untrusted", "--allow-listen", other).returncode == 1, other


def test_untrusted_scripts_choose_neither_brokers_nor_files(check, tmp_path):
    result = check("", "--untrusted", options='servers = {"nats://10.1.2.3:4333"}')
    assert "the script may not connect to 10.1.2.3:4333 (--allow-net 10.1.2.3:4333)" in result.stderr
    for allowed in ("10.1.2.3", "10.1.2.3:4333"):
        assert check("", "--untrusted", "--allow-net", allowed, options='servers = {"nats://10.1.2.3:4333"}').returncode == 0
    assert check("", "--untrusted", "--server", "nats://127.0.0.1:4222", options='servers = {"nats://10.1.2.3:4333"}').returncode == 0
    (tmp_path / "secret.creds").write_text("x")
    result = check("", "--untrusted", options='auth = { credentials_file = "secret.creds" }')
    assert 'option "auth.credentials_file": the script may not read' in result.stderr
    result = check("", "--untrusted", options='logger_files_path = "/tmp/elsewhere"')
    assert "the script may not choose the folder of its logs" in result.stderr


def test_untrusted_scripts_serve_no_files(check, tmp_path):
    (tmp_path / "public").mkdir()
    static = 'app.http.static("/files", "public")'
    result = check(static, "--untrusted", options="web_server = true")
    assert "test.lua:2: app.http.static: the script may not read" in result.stderr
    assert check(static, "--untrusted", "--allow-read", tmp_path, options="web_server = true").returncode == 0
    # A link that leads out of an allowed folder leads nowhere.
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "link").symlink_to("/etc")
    linked = 'app.http.static("/files", "inside/link")'
    result = check(linked, "--untrusted", "--allow-read", tmp_path / "inside", options="web_server = true")
    assert result.returncode == 1


def test_untrusted_scripts_require_beside_themselves_only(check, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.lua").write_text("return 'secret'")
    inside = tmp_path / "service"
    inside.mkdir()
    (inside / "own.lua").write_text("return 'own'")
    (inside / "link.lua").symlink_to(outside / "secret.lua")
    script = inside / "test.lua"
    script.write_text(script_text("assert(require 'own' == 'own')\nreturn require 'link'"))
    assert panini("check", script).returncode == 0
    result = panini("check", script, "--untrusted")
    assert result.returncode == 1 and "module 'link' not found" in result.stderr
    assert panini("check", script, "--untrusted", "--allow-read", outside).returncode == 0


def test_reports_of_a_middleware_go_where_the_script_may_send(check):
    text = 'panini.middleware.timeout{ subject = "SUBJECT", seconds = 1 }'
    result = check(text.replace("SUBJECT", "secret.orders.delete"), "--untrusted", "--allow-publish", "open.>")
    assert result.returncode == 1 and "may not send to secret.orders.delete (--allow-publish" in result.stderr, result.stderr
    assert check(text.replace("SUBJECT", "open.reports"), "--untrusted", "--allow-publish", "open.>").returncode == 0
    assert check(text.replace("SUBJECT", "secret.orders.delete")).returncode == 0


def test_sends_of_an_untrusted_script_are_denied_one_by_one(service, client):
    inbox = client.subscribe("open.*")
    service(
        """
        local function tell(...)
            local value, err = ...
            return value or err.code .. ": " .. err.message
        end
        app.listen("ask", function(msg)
            return {
                tell(app.publish("open.door", "x")),
                tell(app.publish("closed.door", "x")),
                tell(app.publish("open.door", "x", { reply_to = "closed.reply" })),
                tell(app.request("closed.question", "x")),
                tell(app.listen("closed.later", function() end)),
            }
        end)
        """,
        arguments=["--untrusted", "--allow-listen", "ask", "--allow-publish", "open.>"],
    )
    answers = client.ask("ask", {})
    assert answers[0] is True
    assert answers[1] == "denied: the script may not send to closed.door (--allow-publish closed.door)"
    assert answers[2].startswith("denied: the script may not send to closed.reply")
    assert answers[3].startswith("denied: the script may not send to closed.question")
    assert answers[4].startswith("denied: the script may not listen to closed.later")
    assert inbox.next().text == "x"


def test_a_stuck_worker_is_reported_and_comes_back(start, nats_server):
    running = start(
        nats_server.url,
        "app.task(function() os.execute('sleep 3') end)",
        options="limits = { cpu = 0.1 }",
        arguments=["--trust", "--wedged", "report", "--wedged-after", "0.5"],
    )
    running.wait_for(r"worker \S+ is stuck: a script of test has held it for \d+\.\d s and cannot be ended")
    running.wait_for(r"worker \S+ has come back after [23]\.\d s")


STICKING = """
app.listen("stick", function(msg) os.execute("sleep " .. msg.data.seconds) return { worker = panini.worker } end)
app.listen("ask", function(msg) return { worker = panini.worker } end)
"""


def test_other_workers_take_over_from_a_stuck_one(start, nats_server, tmp_path):
    client = Client(nats_server.url)
    control = {"PANINI_CONTROL_DIR": str(tmp_path / "control")}
    running = start(
        nats_server.url,
        STICKING,
        options="limits = { cpu = 0.1 }",
        arguments=["--trust", "--workers", "2", "--wedged", "report", "--wedged-after", "0.5"],
        env=control,
    )
    client.collect("stick", [b'{"seconds": 8}'])
    running.wait_for(r"the connection of worker-(\d) was ended: the other workers get its messages")
    stuck = int(re.findall(r"connection of worker-(\d) was ended", running.output)[0])
    # The broker may still be hearing of the end.
    wait_until(lambda: client.ask("ask", {}, timeout=PATIENCE) == {"worker": 1 - stuck}, "another worker answers")
    for _ in range(20):
        assert client.ask("ask", {}, timeout=2) == {"worker": 1 - stuck}
    status = json.loads(panini("ps", "--json", env=control).stdout)[0]
    assert status["stuck_workers"] == 1
    assert status["workers"] == 2
    assert status["connected"] is True
    reload = panini("reload", env=control)
    assert reload.returncode == 1
    assert f"a script holds worker-{stuck}, which cannot be reloaded; restart the program" in reload.stderr
    running.wait_for(r"has come back after")
    wait_until(lambda: client.ask("ask", {}, timeout=2) == {"worker": stuck}, "the worker takes part again")
    assert json.loads(panini("ps", "--json", env=control).stdout)[0]["stuck_workers"] == 0
    assert panini("reload", env=control).returncode == 0
    client.close()


def test_a_stop_does_not_wait_for_a_stuck_worker(start, nats_server):
    client = Client(nats_server.url)
    running = start(
        nats_server.url,
        STICKING,
        options="limits = { cpu = 0.1 }, shutdown_timeout = 3600",
        arguments=["--trust", "--workers", "2", "--wedged", "report", "--wedged-after", "0.5"],
    )
    client.collect("stick", [b'{"seconds": 600}'])
    running.wait_for(r"is stuck: a script of test has held it")
    client.close()
    running.signal(signal.SIGTERM)
    # What the script has started holds the output open: its end is not waited for.
    assert running.process.wait(PATIENCE) == 1
    os.killpg(running.process.pid, signal.SIGKILL)
    running.wait()
    assert re.search(r"a script holds worker-\d", running.output)
    running.expected_exit = 1


def test_a_stuck_worker_ends_the_program_when_asked_to(start, nats_server):
    running = start(
        nats_server.url,
        "app.task(function() os.execute('sleep 30') end)",
        options="limits = { cpu = 0.1 }",
        arguments=["--trust", "--wedged", "exit", "--wedged-after", "0.5"],
        ready=False,
    )
    # What the script has started holds the output open: its end is not waited for.
    assert running.process.wait(15) == 70
    os.killpg(running.process.pid, signal.SIGKILL)
    running.wait()
    assert "is stuck in test: the program ends (--wedged exit)" in running.output
    running.expected_exit = 70
