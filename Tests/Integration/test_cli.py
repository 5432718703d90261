"""The command line: help, exit codes, one clear line per failure, and the small NATS tools."""

import json
import re
import signal
import socket
import subprocess

import pytest

from harness import PROGRAM, Broker, Client, NoResponders, Program, environment, free_port, panini, wait_until

COMMANDS = ["run", "dev", "check", "broker", "publish", "request", "subscribe", "version"]


def one_line(result, code, *words):
    """A failure as a user likes it: the exit code, one line that says what, no dump."""
    assert result.returncode == code, (result.returncode, result.stdout, result.stderr)
    text = result.stderr.strip()
    assert text and len(text.splitlines()) <= 2, result.stderr
    for word in words:
        assert word in text, text
    assert "Fatal error" not in text and "Stack dump" not in text and ".swift:" not in text
    return text


# ---- help and usage


def test_help_names_every_command():
    result = panini("--help")
    assert result.returncode == 0
    for command in COMMANDS:
        assert re.search(rf"^\s+{command}\b", result.stdout, re.MULTILINE), result.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command(command):
    result = panini(command, "--help")
    assert result.returncode == 0
    assert "USAGE" in result.stdout.upper()
    assert command in result.stdout


def test_help_documents_the_exit_codes():
    text = panini("--help").stdout + panini("run", "--help").stdout
    assert re.search(r"(?i)exit", text)


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["run"],
        ["check"],
        ["publish"],
        ["request"],
        ["subscribe"],
        ["run", "--nonsense", "x.lua"],
        ["broker", "--port", "many"],
        ["broker", "--port", "70000"],
        ["request", "x", "--timeout", "soon"],
        ["subscribe", "x", "--count", "-1"],
        ["subscribe", "x", "--count", "few"],
        ["publish", "a b", "x"],
        ["publish", "x", "y", "--server", "http://127.0.0.1"],
        ["version", "extra"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_2(arguments):
    result = panini(*arguments)
    assert result.returncode == 2, (result.returncode, result.stderr)
    assert result.stderr.strip()


def test_version():
    result = panini("version")
    assert result.returncode == 0
    assert re.search(r"\d+\.\d+\.\d+", result.stdout)


def test_version_json():
    result = panini("version", "--json")
    assert result.returncode == 0
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", json.loads(result.stdout)["version"])


# ---- scripts that cannot run


@pytest.mark.parametrize("command", ["run", "dev", "check"])
def test_a_missing_file(tmp_path, command):
    one_line(panini(command, "missing.lua", cwd=tmp_path), 1, "missing.lua")


@pytest.mark.parametrize("command", ["run", "dev", "check"])
def test_a_folder_is_no_script(tmp_path, command):
    (tmp_path / "folder.lua").mkdir()
    one_line(panini(command, "folder.lua", cwd=tmp_path), 1, "folder.lua")


@pytest.mark.parametrize("command", ["run", "dev"])
@pytest.mark.parametrize("second", ["one.lua", "./one.lua", "link.lua", ".", "../{folder}/one.lua"])
def test_a_script_that_is_given_twice(tmp_path, command, second):
    (tmp_path / "one.lua").write_text('panini.app{ service_name = "one" }')
    if second == "link.lua":
        (tmp_path / "link.lua").symlink_to("one.lua")
    one_line(panini(command, "one.lua", second.format(folder=tmp_path.name), cwd=tmp_path), 2, "one.lua", "given twice", "--workers")


def test_an_unreadable_file(tmp_path):
    # A link that leads to itself: unlike a file without permissions, root cannot read it either.
    path = tmp_path / "secret.lua"
    path.symlink_to(path)
    one_line(panini("check", path), 1, "secret.lua")


@pytest.mark.parametrize("command", ["run", "dev", "check"])
def test_a_syntax_error(tmp_path, command):
    (tmp_path / "bad.lua").write_text("local a = 1\nlocal = 2\n")
    one_line(panini(command, "bad.lua", cwd=tmp_path), 1, "bad.lua:2:")


@pytest.mark.parametrize("command", ["run", "dev"])
def test_an_error_while_loading(tmp_path, command):
    (tmp_path / "bad.lua").write_text('panini.app{ servce_name = "x" }\n')
    result = panini(command, "bad.lua", cwd=tmp_path)
    assert result.returncode == 1
    assert "bad.lua:1:" in result.stderr and "service_name" in result.stderr


# ---- a broker that is not there


@pytest.mark.parametrize("how", ["option", "script"])
def test_no_broker(tmp_path, how):
    port = free_port()
    extra = ", retry_on_start = false" if how == "script" else ""
    (tmp_path / "x.lua").write_text(f'panini.app{{ service_name = "x"{extra} }}\n')
    arguments = ["--no-retry-on-start"] if how == "option" else []
    result = panini("run", "x.lua", "--server", f"nats://127.0.0.1:{port}", *arguments, cwd=tmp_path)
    assert result.returncode == 1
    lines = [line for line in (result.stderr + result.stdout).splitlines() if str(port) in line]
    assert 1 <= len(lines) <= 2, (result.stdout, result.stderr)


@pytest.mark.parametrize("arguments", [["publish", "x", "y"], ["request", "x", "y"], ["subscribe", "x"]])
def test_tools_without_a_broker(arguments):
    port = free_port()
    one_line(panini(*arguments, "--server", f"nats://127.0.0.1:{port}"), 1, str(port))


def test_a_port_that_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        one_line(panini("broker", "--port", port), 1, str(port))


# ---- check


SHOP = """
local app = panini.app{ service_name = "shop", version = "1.2.3", allocation_queue_group = "shops" }
app.listen("orders.{id}.paid", { name = "paid" }, function(msg) end)
app.listen({ "a", "b" }, { queue = false }, function(msg) end)
app.listen("c", { queue = "own" }, function(msg) end)
app.timer_task(2.5, { name = "sweep" }, function() error("never run by check") end)
app.task(function() error("never run by check") end)
app.on_start_task(function() error("never run by check") end)
"""


def test_check_prints_what_is_registered(check):
    result = check(SHOP)
    assert result.returncode == 0, result.stderr
    for word in ("shop", "orders.", "a", "b", "c", "sweep", "2.5"):
        assert word in result.stdout


def test_check_json(check):
    result = check(SHOP, "--json")
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["service_name"] == "shop"
    assert report["version"] == "1.2.3"
    listeners = {entry["subject"]: entry for entry in report["listeners"]}
    assert len(report["listeners"]) == 4
    paid = next(e for s, e in listeners.items() if s.startswith("orders."))
    assert paid["queue"] == "shops"
    assert paid["name"] == "paid"
    assert listeners["c"]["queue"] == "own"
    assert not listeners["a"].get("queue")
    assert [(t["name"], t["interval"]) for t in report["timers"]] == [("sweep", 2.5)]
    assert report["tasks"] == 1 or len(report["tasks"]) == 1
    assert report["routes"] == []


def test_check_json_on_an_error(check):
    result = check("local x = nil\nx.y = 1", "--json")
    assert result.returncode == 1
    assert "test.lua:3:" in result.stderr + result.stdout


def test_check_leaves_nothing_behind(check, tmp_path):
    assert check(SHOP).returncode == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["test.lua"]


# ---- publish, request, subscribe


def subscriber(broker, *arguments):
    program = Program([PROGRAM, "subscribe", *arguments, "--server", broker.url])
    return program


def subscribed(client, subject):
    """A request sees whether anybody is there; a subscriber never answers, so a timeout means yes."""
    try:
        client.request(subject, b"probe", timeout=0.5)
    except NoResponders:
        return False
    except Exception:  # noqa: BLE001 - the timeout
        return True
    return True


def test_publish_reaches_subscribers(broker, client):
    inbox = client.subscribe("cli.out")
    result = panini("publish", "cli.out", '{"a": 1}', "--server", broker.url)
    assert result.returncode == 0, result.stderr
    assert inbox.next().payload == b'{"a": 1}'
    assert panini("publish", "cli.out", "--server", broker.url).returncode == 0
    assert inbox.next().payload == b""


def test_publish_from_standard_input(broker, client):
    inbox = client.subscribe("cli.out")
    result = panini("publish", "cli.out", "-", "--server", broker.url, stdin="from a pipe")
    assert result.returncode == 0, result.stderr
    assert inbox.next().payload == b"from a pipe"


@pytest.mark.parametrize("command", ["publish", "request"])
@pytest.mark.parametrize("arguments", [["cli.out", b"\xff\xfe"], [b"cli.\xe9", "x"], ["cli.out", "x", "--header", b"A: \xe9"]])
def test_arguments_that_are_no_text_are_refused(broker, client, command, arguments):
    """They would be sent as other bytes than were given."""
    inbox = client.subscribe("cli.>")

    def run(*words, **streams):
        return subprocess.run([PROGRAM, *words, "--server", broker.url], capture_output=True, timeout=60, check=False, **streams)

    refused = run(command, *arguments, stdin=subprocess.DEVNULL)
    assert refused.returncode == 2 and refused.stdout == b"", refused
    assert b"UTF-8" in refused.stderr and f"panini {command} SUBJECT -".encode() in refused.stderr
    piped = run("publish", "cli.out", "-", input=b"\xff\xfe")
    assert piped.returncode == 0 and inbox.next().payload == b"\xff\xfe"


def test_server_from_the_environment(broker, client):
    inbox = client.subscribe("cli.out")
    assert panini("publish", "cli.out", "x", env={"NATS_URL": broker.url}).returncode == 0
    assert inbox.next().payload == b"x"


def test_request_prints_the_answer(broker, client):
    client.responder("cli.echo", lambda m: b"got " + m.payload)
    result = panini("request", "cli.echo", "hello", "--server", broker.url)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "got hello"
    piped = panini("request", "cli.echo", "-", "--server", broker.url, stdin="piped")
    assert piped.stdout.strip() == "got piped"


def test_request_json(broker, client):
    client.responder("cli.echo", lambda m: ({"n": 1}, {"Kind": "x"}))
    result = panini("request", "cli.echo", "{}", "--json", "--server", broker.url)
    assert result.returncode == 0, result.stderr
    answer = json.loads(result.stdout)
    assert "n" in json.dumps(answer)


def test_request_that_fails(broker, client):
    one_line(panini("request", "cli.nobody", "x", "--server", broker.url), 1, "cli.nobody")
    client.subscribe("cli.silent")
    text = one_line(panini("request", "cli.silent", "x", "--timeout", "0.2", "--server", broker.url), 1, "cli.silent")
    assert "0.2 s" in text


def test_request_with_an_error_reply(broker, client):
    client.responder(
        "cli.error",
        lambda m: (
            {"success": False, "code": 404, "error": "no such thing"},
            {"Nats-Service-Error": "no such thing", "Nats-Service-Error-Code": "404"},
        ),
    )
    result = panini("request", "cli.error", "x", "--server", broker.url)
    assert result.returncode == 1
    assert "no such thing" in result.stderr + result.stdout


def test_subscribe_counts(broker, client):
    program = subscriber(broker, "cli.in.>", "--count", "3")
    wait_until(lambda: subscribed(client, "cli.in.a"), "the subscription is there")
    for n in range(3):
        client.publish("cli.in.b", f"message {n}")
    assert program.wait() == 0
    assert "message 0" in program.output or "probe" in program.output


def test_subscribe_json(broker, client):
    process = subprocess.Popen(
        [PROGRAM, "subscribe", "cli.json", "--count", "2", "--json", "--server", broker.url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: subscribed(client, "cli.json") or process.poll() is not None, "the subscription is there")
        client.publish("cli.json", b'{"n": 1}', headers={"K": "v"})
        client.flush()
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, err
    lines = [json.loads(line) for line in out.decode().splitlines() if line.strip()]
    assert len(lines) == 2
    assert lines[-1]["subject"] == "cli.json"
    assert "K" in json.dumps(lines[-1])


def test_subscribe_says_when_it_is_connected_again():
    own = Broker("nats-server").start()
    program = subscriber(own, "cli.again")
    try:
        program.wait_for("listening to cli.again")
        own.stop()
        own.start()
        program.wait_for("connected again; messages that were sent meanwhile are missing")
        client = Client(own.url)
        client.publish("cli.again", "after it")
        client.flush()
        program.wait_for("cli.again after it")
        client.close()
    finally:
        program.kill()
        own.stop()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_subscribe_ends_by_signal(broker, client, number):
    program = subscriber(broker, "cli.sig")
    wait_until(lambda: subscribed(client, "cli.sig"), "the subscription is there")
    program.signal(number)
    assert program.wait() in (0, 128 + number, -number)
    program.assert_nothing_left()


# ---- broker and dev


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_broker_says_where_it_is(number):
    port = free_port()
    program = Program([PROGRAM, "broker", "--port", port])
    assert program.wait_for(rf"nats://127\.0\.0\.1:{port}")
    program.signal(number)
    assert program.wait() == 0, program.output
    program.assert_nothing_left()


def test_dev_brings_its_own_broker(tmp_path):
    (tmp_path / "hi.lua").write_text(
        'local app = panini.app{ service_name = "hi" }\n'
        'app.listen("hi", function(msg) return { hello = msg.data and msg.data.name or "you" } end)\n'
        'app.timer_task(3600, { name = "hourly" }, function() end)\n'
    )
    # Twice at once: the second finds the usual port taken and says where it is instead.
    other = Program([PROGRAM, "dev", "hi.lua"], cwd=tmp_path)
    other.wait_for(r"\bready\b")
    program = Program([PROGRAM, "dev", "hi.lua"], cwd=tmp_path)
    try:
        url = program.wait_for(r"nats://127\.0\.0\.1:\d+").group(0)
        program.wait_for(r"\bready\b")
        result = panini("request", "hi", '{"name": "Ada"}', "--server", url)
        assert json.loads(result.stdout) == {"hello": "Ada"}, (result, program.output)
        # It says what is registered and how to try it.
        assert "hi" in program.output
        assert "panini request" in program.output
        program.signal(signal.SIGTERM)
        assert program.wait() == 0, program.output
        program.assert_nothing_left()
    finally:
        program.kill()
        other.kill()


def test_dev_on_a_given_server(broker, client, tmp_path):
    (tmp_path / "hi.lua").write_text(
        'local app = panini.app{ service_name = "hi" }\napp.listen("hi", function(msg) return { ok = true } end)\n'
    )
    program = Program([PROGRAM, "dev", "hi.lua", "--server", broker.url], cwd=tmp_path)
    try:
        program.wait_for(r"\bready\b")
        assert client.ask("hi") == {"ok": True}
        program.signal(signal.SIGTERM)
        assert program.wait() == 0, program.output
    finally:
        program.kill()


def test_run_several_files(broker, client, tmp_path):
    for name in ("one", "two"):
        (tmp_path / f"{name}.lua").write_text(
            f'local app = panini.app{{ service_name = "{name}" }}\n'
            f'app.listen("{name}", function(msg) return {{ name = "{name}" }} end)\n'
        )
    program = Program([PROGRAM, "run", "one.lua", "two.lua", "--server", broker.url], cwd=tmp_path)
    try:
        wait_until(lambda: program.output.count("ready") >= 2, f"both are ready: {program.output}")
        assert client.ask("one") == {"name": "one"}
        assert client.ask("two") == {"name": "two"}
        program.signal(signal.SIGTERM)
        assert program.wait() == 0, program.output
    finally:
        program.kill()


def test_options_from_outside(broker, client, tmp_path):
    (tmp_path / "x.lua").write_text('local app = panini.app{ service_name = "x", client_name = "script" }\n')
    events = client.subscribe("panini_events.x.>")
    for arguments, env, name in [
        ([], {"PANINI_CLIENT_NAME": "environment"}, "environment"),
        (["--client-name", "line"], {"PANINI_CLIENT_NAME": "environment"}, "line"),
        ([], {}, "script"),
    ]:
        program = Program([PROGRAM, "run", "x.lua", "--server", broker.url, *arguments], cwd=tmp_path, env=environment(**env))
        try:
            program.wait_for(r"\bready\b")
            assert events.next().subject == f"panini_events.x.{name}.started"
            program.signal(signal.SIGTERM)
            assert program.wait() == 0
        finally:
            program.kill()


def test_a_closed_output_is_no_crash(broker, tmp_path):
    """`panini ... | head` and a log that nobody reads end quietly."""
    (tmp_path / "x.lua").write_text('panini.app{ service_name = "x" }\n')
    process = subprocess.Popen([PROGRAM, "check", "x.lua"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    process.wait(60)
    assert b"Fatal error" not in process.stderr.read()
    assert process.returncode in (0, 1, -signal.SIGPIPE, 128 + signal.SIGPIPE)


def test_dev_names_the_routes_of_a_service_without_subjects(tmp_path):
    (tmp_path / "web.lua").write_text("""
local app = panini.app{ service_name = "web", web_server = true, web_port = 0 }
app.http.get("/greet/{name}", function(req) return req.params.name end)
app.http.nats_bridge("/news", { allow = { "news.>" } })
""")
    program = Program([PROGRAM, "dev", "web.lua"], cwd=tmp_path)
    program.wait_for(r"serves GET /greet/\{name\}")
    program.wait_for(r"serves WEBSOCKET /news  \(bridge to news\.>\)")
    assert "nothing is registered" not in program.output
    program.signal(signal.SIGINT)
    assert program.wait() == 0
