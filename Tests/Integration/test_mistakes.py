"""Mistakes in a script: found by `panini check`, named with file and line, with a hint where there is one."""

import re

import pytest

from harness import panini


def refused(result, *words):
    """One clear error: exit 1, the words on standard error, no crash report."""
    assert result.returncode == 1, (result.returncode, result.stdout, result.stderr)
    for word in words:
        assert word in result.stderr, result.stderr
    assert "Fatal error" not in result.stderr and "Stack dump" not in result.stderr
    return result.stderr


@pytest.mark.parametrize(
    "options, words",
    [
        ("", ["service_name"]),
        ('service_name = ""', ["service_name"]),
        ('service_name = "two words"', ["service_name"]),
        ('service_name = "dots.in.it"', ["service_name"]),
        ("service_name = 5", ["service_name", "string"]),
        ('servce_name = "x"', ["servce_name", "service_name"]),
        ('service_name = "x", prot = 4222', ["prot", "port"]),
        ('service_name = "x", port = "4222"', ["port"]),
        ('service_name = "x", port = 0.5', ["port"]),
        ('service_name = "x", port = 70000', ["port"]),
        ('service_name = "x", host = 5', ["host"]),
        ('service_name = "x", servers = { "http://127.0.0.1" }', ["servers"]),
        ('service_name = "x", servers = { 5 }', ["servers"]),
        ('service_name = "x", version = "one"', ["version"]),
        ('service_name = "x", app_strategy = "threads"', ["app_strategy", "asyncio", "sync"]),
        ('service_name = "x", handler_timeout = "30"', ["handler_timeout"]),
        ('service_name = "x", handler_timeout = -1', ["handler_timeout"]),
        ('service_name = "x", handler_timeout = 0/0', ["handler_timeout"]),
        ('service_name = "x", pending_limit = 1.5', ["pending_limit"]),
        ('service_name = "x", pending_bytes_limit = "64 parsecs"', ["pending_bytes_limit"]),
        ('service_name = "x", debug = "yes"', ["debug"]),
        ('service_name = "x", reconnect = 1', ["reconnect"]),
        ('service_name = "x", allocation_queue_group = "two words"', ["allocation_queue_group"]),
        ('service_name = "x", metadata = 5', ["metadata"]),
        ('service_name = "x", [1] = "positional"', []),
    ],
)
def test_app_options(check, options, words):
    refused(check(f"\nlocal app = panini.app{{ {options} }}"), "test.lua:", *words)


def test_sizes_may_be_texts(check):
    result = check('panini.app{ service_name = "x", pending_bytes_limit = "64MB", shutdown_timeout = 0.5, version = "1.2.3-rc.1" }')
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("call", ["panini.app()", "panini.app(5)", 'panini.app("name")', "panini.app{}"])
def test_app_argument(check, call):
    refused(check(call), "test.lua:1:")


def test_a_second_app(check):
    text = refused(check('panini.app{ service_name = "a" }\npanini.app{ service_name = "b" }'), "test.lua:2:")
    assert "app" in text


def test_no_app_at_all(check, tmp_path):
    (tmp_path / "none.lua").write_text("local x = 1\n")
    refused(panini("check", "none.lua", cwd=tmp_path), "none.lua", "panini.app")


LISTEN = [
    ('app.listen("a b", function() end)', ["a b"]),
    ('app.listen("", function() end)', ["subject"]),
    ('app.listen("a..b", function() end)', ["a..b"]),
    ('app.listen(".a", function() end)', [".a"]),
    ('app.listen("a.", function() end)', ["a."]),
    ('app.listen("a.>.b", function() end)', ["a.>.b"]),
    ('app.listen("a\\tb", function() end)', ["subject"]),
    ('app.listen("a.{", function() end)', ["{"]),
    ('app.listen("a.{}", function() end)', ["{}"]),
    ('app.listen("a.{x}.{x}", function() end)', ["x"]),
    ("app.listen({}, function() end)", ["subject"]),
    ("app.listen({ 5 }, function() end)", []),
    ("app.listen(5, function() end)", []),
    ("app.listen(nil, function() end)", []),
    ('app.listen("a")', ["function"]),
    ('app.listen("a", {})', ["function"]),
    ('app.listen("a", 5)', []),
    ('app.listen("a", "b", function() end)', []),
    ('app.listen("a", { queu = "x" }, function() end)', ["queu", "queue"]),
    ('app.listen("a", { queue = 5 }, function() end)', ["queue"]),
    ('app.listen("a", { queue = "two words" }, function() end)', ["queue"]),
    ('app.listen("a", { queue = true }, function() end)', ["queue"]),
    ('app.listen("a", { data_type = "xml" }, function() end)', ["data_type", "xml"]),
    ('app.listen("a", { concurrency = 0 }, function() end)', ["concurrency"]),
    ('app.listen("a", { concurrency = 1.5 }, function() end)', ["concurrency"]),
    ('app.listen("a", { timeout = -1 }, function() end)', ["timeout"]),
    ('app.listen("a", { reply = "no" }, function() end)', ["reply"]),
    ("app.timer_task(function() end)", []),
    ('app.timer_task("1", function() end)', []),
    ("app.timer_task(0, function() end)", []),
    ("app.timer_task(-1, function() end)", []),
    ("app.timer_task(0/0, function() end)", []),
    ("app.timer_task(1/0, function() end)", []),
    ("app.timer_task(1)", ["function"]),
    ('app.timer_task(1, { mode = "cron" }, function() end)', ["mode"]),
    ('app.timer_task(1, { imediate = false }, function() end)', ["imediate", "immediate"]),
    ("app.task(5)", ["function"]),
    ("app.task()", ["function"]),
    ('app.on_start_task("x")', ["function"]),
    ("app.on_stop({})", ["function"]),
    ('app.add_filters{ includ = { "x" } }', ["includ", "include"]),
    ('app.add_filters{ include = 5 }', ["include"]),
    ('app.add_filters("x")', []),
    ('app.lisen("x", function() end)', ["lisen"]),
    ('panini.aray({})', ["aray"]),
    ('panini.env(5.5)', []),
    ('panini.base64.encode({})', []),
    ('panini.hash.sha256()', []),
]


@pytest.mark.parametrize("statement, words", LISTEN, ids=[s for s, _ in LISTEN])
def test_registrations(check, statement, words):
    refused(check(statement), "test.lua:2:", *words)


@pytest.mark.parametrize(
    "call",
    ['publish("x", {})', 'publish_sync("x", {})', 'request("x", {})', 'request_sync("x", {})', "flush()", "sleep(1)"],
)
def test_calls_at_file_level(check, call):
    refused(check(f"app.{call}"), "test.lua:2:", "on_start_task")


def test_calls_at_file_level_of_a_module(check):
    refused(
        check('APP = app\nrequire "part"', files={"part.lua": '\nAPP.publish("x", {})'}),
        "part.lua:2:",
        "on_start_task",
    )


@pytest.mark.parametrize(
    "script, line",
    [
        ("local x = \nlocal y", "test.lua:3:"),
        ("for 1", "test.lua:2:"),
        ("x = = 1", "test.lua:2:"),
        ("local a\nlocal b\nlocal function f( end", "test.lua:4:"),
        ('print("unfinished)', "test.lua:2:"),
        ("goto nowhere", "test.lua:"),
    ],
)
def test_syntax_errors_are_one_line(check, script, line):
    text = refused(check(script), line)
    assert len([row for row in text.splitlines() if row.strip()]) == 1, text


def test_a_runtime_error_at_file_level(check):
    refused(check('local function helper() error("while loading") end\nhelper()'), "test.lua:2: while loading")


@pytest.mark.parametrize("statement", ["error()", "error({})", "error(setmetatable({}, {__tostring = error}))", "error{ code = 5, message = 'told' }"])
def test_odd_errors_at_file_level(check, statement):
    refused(check(statement), "test.lua")


def test_an_error_of_several_lines_makes_no_line_of_its_own(check):
    result = check('error("one\\nFORGED")')
    assert result.returncode == 1
    assert re.search(r"^panini: .*test\.lua:2: one\n    FORGED$", result.stderr, re.MULTILINE), result.stderr


def test_bytecode_is_refused(check, tmp_path):
    (tmp_path / "code.lua").write_bytes(b"\x1bLuaT\x00\x19\x93\r\n\x1a\n")
    refused(panini("check", "code.lua", cwd=tmp_path), "code.lua")


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", b"\x00" * 100, b"#!/usr/bin/panini\nreturn ("])
def test_binary_garbage_is_refused(tmp_path, data):
    (tmp_path / "garbage.lua").write_bytes(data)
    refused(panini("check", "garbage.lua", cwd=tmp_path), "garbage.lua")


def test_a_shebang_line_is_fine(tmp_path):
    (tmp_path / "shebang.lua").write_text('#!/usr/bin/env panini\npanini.app{ service_name = "x" }\n')
    assert panini("check", "shebang.lua", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize("name", ["os.execute", "io.popen", "package.loadlib", "os.exit", "string.dump", "dofile", "loadfile"])
def test_what_scripts_may_not_do(check, name):
    """Scripts reach the world through the host, never around it."""
    refused(check(f"local f = {name} f('x')"), "test.lua:2:")


@pytest.mark.parametrize("name", ["io.open", "io.lines"])
def test_files_are_an_answer_and_no_error(check, name):
    """Libraries ask for files and go on without them."""
    assert check(f"local f, err = {name}('/etc/passwd') assert(f == nil and err:find('--trust', 1, true))").returncode == 0
