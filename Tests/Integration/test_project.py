"""panini new, panini test and panini completions, as a newcomer uses them."""

import json
import os
import pathlib
import re
import subprocess

import pytest

from harness import PATIENCE, PROGRAM, Program, environment, free_port, panini, script_text

FILES = {".dockerignore", ".gitignore", ".luarc.json", "Dockerfile", "README.md", "docker-compose.yml", "main.lua", "main_test.lua", "panini.d.lua"}


@pytest.fixture
def project(tmp_path):
    result = panini("new", "demo-1", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    return tmp_path / "demo-1"


# ---- new


def test_a_project_has_its_files(project):
    assert {path.name for path in project.iterdir()} == FILES
    assert json.loads((project / ".luarc.json").read_text())["runtime.version"] == "Lua 5.4"
    assert (project / "panini.d.lua").read_text() == panini("types").stdout


def test_a_project_is_checked_and_tested(project):
    report = json.loads(panini("check", "--json", cwd=project).stdout)
    assert report["service_name"] == "demo-1"
    assert report["listeners"] == [{"subject": "demo-1.hello", "queue": "demo-1", "name": None}]
    result = panini("test", cwd=project)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "greets by name" in result.stdout and "2 tests, 0 failed" in result.stdout
    # Nothing is left behind: no logs of a test run.
    assert {path.name for path in project.iterdir()} == FILES


def test_its_test_can_fail(project):
    script = project / "main.lua"
    script.write_text(script.read_text().replace("Hello, ", "Good bye, "))
    result = panini("test", cwd=project)
    assert result.returncode == 1
    assert re.search(r"FAIL  greets by name.*\n +main_test.lua:4: message: expected \"Hello, Ada!\", got \"Good bye, Ada!\"", result.stdout), result.stdout
    assert "2 tests, 1 failed" in result.stdout


def test_it_runs_as_it_says(project):
    program = Program([PROGRAM, "dev", "--port", str(free_port())], cwd=project, env=environment())
    try:
        program.wait_for(r"\bready\b")
        address = re.search(r"nats://\S+?:\d+", program.output)[0]
        command = re.search(r"panini request (\S+) '(.*)'", (project / "README.md").read_text())
        result = panini("request", command[1], command[2], "--server", address)
        assert result.stdout == '{"message":"Hello, Ada!"}\n', result.stderr
    finally:
        program.kill()


@pytest.mark.parametrize("name", ["a b", "a.b", "", "ä", "../x", "-x", "a" * 65])
def test_a_wrong_name(tmp_path, name):
    result = panini("new", "--", name, cwd=tmp_path)
    assert result.returncode == 2, result.stderr
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(project):
    before = {path.name: path.read_text() for path in project.iterdir()}
    (project / "main.lua").write_text("mine")
    result = panini("new", "demo-1", cwd=project.parent)
    assert result.returncode == 1
    assert "main.lua" in result.stderr and "nothing was written" in result.stderr
    assert {path.name: path.read_text() for path in project.iterdir()} == before | {"main.lua": "mine"}


def test_a_folder_that_is_there_and_has_other_things(tmp_path):
    (tmp_path / ".git").mkdir()
    result = panini("new", "here", "--dir", ".", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert {path.name for path in tmp_path.iterdir()} == FILES | {".git"}


def test_a_link_that_leads_nowhere_is_not_followed(tmp_path):
    (tmp_path / "main.lua").symlink_to(tmp_path / "elsewhere.lua")
    result = panini("new", "here", "--dir", ".", cwd=tmp_path)
    assert result.returncode == 1 and "main.lua" in result.stderr
    assert not (tmp_path / "elsewhere.lua").exists()


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    result = panini("new", "x", "--dir", "file/x", cwd=tmp_path)
    assert result.returncode == 1
    assert "cannot write file/x" in result.stderr


@pytest.mark.parametrize("command", ["run", "dev", "check"])
def test_without_a_file_and_without_a_project(tmp_path, command):
    result = panini(command, cwd=tmp_path)
    assert result.returncode == 2
    assert "main.lua" in result.stderr


# ---- test


def write(folder, **files):
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path = path.with_name(path.name + ".lua")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


SERVICE = script_text(
    """
    app.listen("sum", function(msg)
        if type(msg.data) ~= "table" then return nil, { code = 400, message = "numbers" } end
        local total = 0
        for _, n in ipairs(msg.data) do total = total + n end
        app.publish("sums.done", { total = total })
        return { total = total, parts = msg.data }
    end)
    app.listen("price", function(msg) return app.request("stock.price", msg.data) end)
    """
)


def test_everything_a_test_has(tmp_path):
    write(
        tmp_path,
        sum=SERVICE,
        sum_test="""
        test("equal goes deep", function(t)
            local reply = t.equal(t.request("sum", { 1, 2 }), { total = 3, parts = { 1, 2 } })
            t.equal(reply.total, 3, "total")
        end)
        test("others can be played", function(t)
            t.listen("stock.price", function(msg) return { price = msg.data.sku == "tea" and 4 or 5 } end)
            t.equal(t.request("price", { sku = "tea" }), { price = 4 })
        end)
        test("what was played is gone", function(t)
            local _, err = t.request("price", { sku = "tea" })
            t.equal(err.code, 503)
        end)
        test("messages are seen", function(t)
            local box = t.subscribe("sums.*")
            t.request("sum", { 5 })
            t.equal(box.next().data, { total = 5 })
            t.equal(box.count(), 0)
            t.raises(function() box.next(0.05) end, "nothing came on sums")
        end)
        test("helpers", function(t)
            t.matches("hello", "^h.l")
            t.ok(1)
            local n = 0
            t.eventually(function() n = n + 1 return n > 3 end)
            t.equal(t.raises(function() error{ code = 1, message = "no" } end, "no").code, 1)
            t.sleep(0.001)
        end)
        test("skipped", function(t) t.skip("no reason") t.ok(false) end)
        """,
    )
    result = panini("test", "sum_test.lua", cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count("  ok    ") == 5
    assert "  skip  skipped: no reason" in result.stdout
    assert "6 tests, 0 failed, 1 skipped" in result.stdout


@pytest.mark.parametrize(
    "body, said",
    [
        ("t.equal({ a = { 1, 2 } }, { a = { 1, 3 } })", "a[2]: expected 3, got 2"),
        ("t.equal({ a = 1, b = 2 }, { a = 1 })", "b: expected nil, got 2"),
        ("t.equal(1, '1', 'the sum')", 'the sum: expected "1", got 1'),
        ("t.equal({}, { x = {} })", "x: expected {  }, got nil"),
        ("t.ok(nil)", "expected something true, got nil"),
        ("t.matches('abc', '^b')", '"abc" does not match "^b"'),
        ("t.raises(function() end)", "expected an error, and there was none"),
        ("t.raises(function() error('no') end, 'yes')", "that matches"),
        ("t.eventually(function() return false end, 0.02)", "did not become true within 0.02 s"),
        ("error('boom')", "boom"),
        ("error{ code = 7, message = 'boom' }", "boom (7)"),
        ("local x = nil; return x.y", "attempt to index a nil value"),
        ("assert(t.request('nobody', {}))", "nobody listens"),
        ("t.sleep(30)", "did not end within 1"),
    ],
)
def test_failures_say_what_and_where(tmp_path, body, said):
    write(tmp_path, sum=SERVICE, sum_test=f'test("fails", function(t)\n{body}\nend)\ntest("passes", function(t) end)\n')
    result = panini("test", "sum_test.lua", "--timeout", "1", cwd=tmp_path)
    assert result.returncode == 1, result.stdout
    assert said in result.stdout, result.stdout
    if said.startswith(("a[", "b:", "the sum", "x:", "expected")):
        assert "sum_test.lua:2: " in result.stdout
    # The next one runs all the same.
    assert "ok    passes" in result.stdout and "2 tests, 1 failed" in result.stdout


@pytest.mark.parametrize(
    "test, said",
    [
        ("test(", "sum_test.lua:1:"),
        ("error('at load')", "sum_test.lua:1: at load"),
        ("test('a')", 'sum_test.lua:1: test: "a" has no function'),
        ("test(1, function() end)", "sum_test.lua:1: test: the name must be a text"),
        ("test('a', print) test('a', print)", 'sum_test.lua:1: test: there are two tests "a"'),
        ("local x = 1", "has no test"),
    ],
)
def test_a_file_that_cannot_run(tmp_path, test, said):
    write(tmp_path, sum=SERVICE, sum_test=test)
    result = panini("test", "sum_test.lua", cwd=tmp_path)
    assert result.returncode == 1, result.stdout
    assert said in result.stdout, result.stdout + result.stderr


def test_a_service_that_does_not_load(tmp_path):
    write(tmp_path, sum="local = 1", sum_test='test("a", function(t) end)')
    result = panini("test", cwd=tmp_path)
    assert result.returncode == 1
    assert "sum.lua:1:" in result.stdout


def test_files_are_found_and_each_has_a_fresh_service(tmp_path):
    counter = script_text('local n = 0\napp.listen("count", function() n = n + 1 return n end)')
    first = 'test("starts at one", function(t) t.equal(t.request("count"), 1) end)'
    write(tmp_path, counter=counter, counter_test=first, tests__counter_test=first, other=counter)
    result = panini("test", cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "counter_test.lua\n" in result.stdout and "tests/counter_test.lua\n" in result.stdout
    assert "2 tests, 0 failed" in result.stdout


def test_which_service(tmp_path):
    write(tmp_path, a=script_text('app.listen("a", function() return app.request("b") end)', "a"))
    write(tmp_path, b=script_text('app.listen("b", function() return 2 end)', "b"))
    write(tmp_path, all_test='test("both", function(t) t.equal(t.request("a"), 2) end)')
    result = panini("test", "all_test.lua", cwd=tmp_path)
    assert result.returncode == 2
    assert "--service" in result.stderr
    result = panini("test", "all_test.lua", "--service", "a.lua", "--service", "b.lua", cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr


def test_no_other_broker_is_reached(project):
    """Whatever the environment says of brokers: tests have their own."""
    elsewhere = {"NATS_URL": "nats://127.0.0.1:1", "PANINI_AUTH_TOKEN": "secret", "PANINI_PORT": "1"}
    result = panini("test", cwd=project, env=elsewhere)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "2 tests, 0 failed" in result.stdout


def test_a_filter_and_options(tmp_path):
    service = 'local app = panini.app{ service_name = "x", handler_timeout = 20 }\napp.listen("slow", function() app.sleep(5) end)'
    write(tmp_path, x=service, x_test="""
        test("is given up", function(t) local _, err = t.request("slow") t.equal(err.code, 504) end)
        test("fails", function(t) t.ok(false) end)
    """)
    result = panini("test", "--filter", "given up", "--handler-timeout", "0.1", cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "1 test, 0 failed" in result.stdout
    result = panini("test", "--filter", "no such", cwd=tmp_path)
    assert result.returncode == 1 and "no such" in result.stderr


def test_permissions_go_for_the_services(tmp_path):
    (tmp_path / "reads.lua").write_text(
        script_text(
            """
            app.listen("reads", function()
                local ok, value = pcall(panini.env, "PANINI_TEST_VALUE")
                return { value = tostring(ok and value or nil) }
            end)
            """
        )
    )
    (tmp_path / "reads_test.lua").write_text(
        'test("reads", function(t) t.equal(t.request("reads", {}).value, panini.env("WANTED")) end)\n'
    )

    def run(wanted, *arguments):
        return panini("test", *arguments, cwd=tmp_path, env={"PANINI_TEST_VALUE": "here", "WANTED": wanted})

    untrusted = ["--untrusted", "--allow-listen", "reads"]
    assert run("here").returncode == 0
    assert run("nil", *untrusted).returncode == 0
    assert run("here", *untrusted, "--allow-env", "PANINI_TEST_VALUE").returncode == 0
    assert run("here", "--allow-env", "PANINI_TEST_VALUE").returncode == 2


def test_no_test_file(tmp_path):
    result = panini("test", cwd=tmp_path)
    assert result.returncode == 2 and "_test.lua" in result.stderr


# ---- completions


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_is_one(shell):
    """The script has no syntax error."""
    result = panini("completions", shell)
    checked = subprocess.run([shell, "-n"], input=result.stdout, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert checked.returncode == 0 and checked.stderr == "", checked.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_for(shell):
    result = panini("completions", shell)
    assert result.returncode == 0
    for word in ("publish", "subscribe", "completions", "web-port", "no-reconnect"):
        assert word in result.stdout


def test_another_shell_is_wrong_usage():
    assert panini("completions", "csh").returncode == 2


def complete(tmp_path, line):
    """What bash offers at the end of a line."""
    script = tmp_path / "panini.bash"
    script.write_text(panini("completions", "bash").stdout)
    words = line.split(" ")
    program = f"""
        source {script}
        COMP_LINE={line!r} COMP_POINT={len(line)} COMP_CWORD={len(words) - 1} COMP_WORDS=({' '.join(f"'{w}'" for w in words)})
        COMP_TYPE=9
        function_name=$(complete -p panini | sed 's/.*-F \\([^ ]*\\).*/\\1/')
        "$function_name" panini '{words[-1]}' '{words[-2]}'
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    path = f"{pathlib.Path(PROGRAM).parent}{os.pathsep}{os.environ['PATH']}"
    result = subprocess.run(
        ["bash", "-c", program], capture_output=True, text=True, cwd=tmp_path, env={"PATH": path, "HOME": str(tmp_path)}, timeout=PATIENCE, check=False
    )
    return {word.strip() for word in result.stdout.splitlines()}


def test_bash_completes_commands(tmp_path):
    assert "publish" in complete(tmp_path, "panini pu")
    assert {"run", "request"} <= complete(tmp_path, "panini r")
    assert "publish" not in complete(tmp_path, "panini r")


def test_bash_completes_options_and_files(tmp_path):
    assert "--timeout" in complete(tmp_path, "panini request --t")
    (tmp_path / "orders.lua").write_text("")
    assert any("orders.lua" in word for word in complete(tmp_path, "panini check ord"))


@pytest.mark.parametrize("command", ["run", "dev", "check", "test"])
def test_bash_completes_the_options_of_the_app(tmp_path, command):
    assert "--web-port" in complete(tmp_path, f"panini {command} --web-p")
    assert "--no-reconnect" in complete(tmp_path, f"panini {command} --no-rec")
