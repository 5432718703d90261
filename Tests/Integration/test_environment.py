"""Variables of the environment: the level of the log, and names with a slip in them."""

import json
import re
import subprocess

import pytest

from harness import PROGRAM, ROOT, Program, environment, free_port, panini, script_text, wait_until

SCRIPT = script_text("""
    app.logger.debug("a debug line")
    app.logger.info("an info line")
    app.logger.warning("a warning line")
    app.logger.error("an error line")
    app.listen("hello", function() return {} end)
""", "hello")
LINES = ["a debug line", "an info line", "a warning line", "an error line"]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "hello.lua").write_text(SCRIPT)
    return tmp_path


def run(folder, *arguments, **env):
    """The output of a service from its start to its end."""
    port = str(free_port())
    program = Program([PROGRAM, "dev", "hello.lua", "--port", port, *arguments], cwd=folder, env=environment(**env))
    try:
        # It says so at every level.
        program.wait_for(r"hello .*\bis ready\b")
        address = f"nats://127.0.0.1:{port}"
        wait_until(lambda: panini("request", "hello", "--server", address).returncode == 0, "it serves")
        program.signal(15)
        assert program.wait() == 0
        return program.output
    finally:
        program.kill()


@pytest.mark.parametrize(
    "level, first", [("debug", 0), ("info", 1), ("warning", 2), ("error", 3), ("WARN", 2), ("trace", 0), ("Critical", 3), ("", 1)]
)
def test_the_level_of_the_log(folder, level, first):
    output = run(folder, PANINI_LOG_LEVEL=level)
    assert [line for line in LINES if line in output] == LINES[first:]


def test_the_command_line_wins(folder):
    output = run(folder, "--log-level", "warning", PANINI_LOG_LEVEL="debug")
    assert [line for line in LINES if line in output] == LINES[2:]


@pytest.mark.parametrize("command", ["run", "dev", "check", "broker", "test", "publish"])
def test_a_wrong_level(folder, command):
    (folder / "hello_test.lua").write_text('test("x", function() end)\n')
    arguments = {"broker": [], "test": ["hello_test.lua"], "publish": ["x", "{}"]}.get(command, ["hello.lua"])
    result = panini(command, *arguments, cwd=folder, env={"PANINI_LOG_LEVEL": "loud"})
    assert result.returncode == 2, result
    for word in ("PANINI_LOG_LEVEL", "debug", "info", "warning", "error", "loud"):
        assert word in result.stderr


@pytest.mark.parametrize(
    "name, meant",
    [
        ("PANINI_WEB_PROT", "PANINI_WEB_PORT"), ("PANINI_LOGLEVEL", "PANINI_LOG_LEVEL"), ("PANINI_PASSWORD", "PANINI_AUTH_PASSWORD"),
        ("PANINI_WORKER", "PANINI_WORKERS"), ("PANINI_SHOP_REGION", None),
    ],
)  # fmt: skip
def test_unknown_variables_are_named(folder, name, meant):
    """With what was meant, once, and without their value."""
    output = run(folder, **{name: "sesame-secret"})
    lines = [line for line in output.splitlines() if name in line]
    assert len(lines) == 1 and "WARNING" in lines[0], output
    assert f"did you mean {meant}?" in lines[0] if meant else "did you mean" not in lines[0]
    assert "sesame" not in output


@pytest.mark.parametrize("command", ["check", "test", "broker", "publish"])
def test_other_commands_say_it_too(folder, broker, command):
    (folder / "hello_test.lua").write_text('test("x", function() end)\n')
    env = {"PANINI_AUTH_PASWORD": "sesame"}
    if command == "broker":
        program = Program([PROGRAM, "broker", "--port", "0"], cwd=folder, env=environment(**env))
        try:
            program.wait_for("listening on")
            output = program.output
        finally:
            program.kill()
    else:
        arguments = {"check": ["hello.lua", "--json"], "test": ["hello_test.lua"], "publish": ["x", "{}", "--server", broker.url]}[command]
        result = panini(command, *arguments, cwd=folder, env=env)
        assert result.returncode == 0
        output = result.stderr
        if command == "check":
            json.loads(result.stdout)
    assert output.count("PANINI_AUTH_PASWORD") == 1 and "did you mean PANINI_AUTH_PASSWORD?" in output and "sesame" not in output


def test_a_script_has_variables_of_its_own(folder):
    (folder / "hello.lua").write_text(script_text('app.listen("hello", function() return {} end) print("region " .. panini.env("PANINI_SHOP_REGION"))', "hello"))
    assert "region north" in run(folder, PANINI_SHOP_REGION="north")


def test_known_variables_are_not_named(folder):
    """All that this repository names: the options', the program's, those of its own tools."""
    options = re.findall(r"^  --(?:\[no-\])?([a-z-]+)", panini("run", "--help").stdout, re.MULTILINE)
    names = {"PANINI_LOG_LEVEL", "PANINI_LOG_QUEUE", "PANINI_WORKERS", "PANINI_CONTROL_DIR"}
    for place in ("scripts", "packaging", "Dockerfile", "docs/deployment.md", "docs/cli.md", "docs/logs.md"):
        found = subprocess.run(["grep", "-rhoE", r"\bPANINI_[A-Z_]*[A-Z]\b", ROOT / place], capture_output=True, text=True, check=False)
        names |= set(found.stdout.split())
    assert len(names) > 15 and "web-port" in options
    result = panini("check", "hello.lua", cwd=folder, env={name: "" for name in names})
    unknown = set(re.findall(r"the variable (\S+) means nothing", result.stderr))
    assert not unknown - {"PANINI_WEB_PROT"}, result.stderr


def test_a_variable_for_a_flag(folder):
    """Whoever sets it believes that the script is kept in bounds."""
    result = panini("check", "hello.lua", cwd=folder, env={"PANINI_UNTRUSTED": "1"})
    assert result.returncode == 0 and "PANINI_UNTRUSTED" in result.stderr and "give --untrusted on the command line" in result.stderr
