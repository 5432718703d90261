"""The documentation is run: scripts as services, snippets inside a handler, commands with their stated output.

What a fenced block says about itself:

    ```lua file=NAME    a complete script, saved under that name (any complete script when `file=` is left out);
                        the service of the command blocks that follow it
    ```lua check        a complete script that is checked and not run: it wants a server of its own
    ```lua inside       a piece of a handler: run inside one, and it must not raise
    ```lua test=NAME    a test file, run by `panini test` beside the script before it
    ```swift            compiled by the build: scripts/snippets writes the file, `swift manifest` is left out
    ```sh               lines that call `panini` or `curl` are run; lines `# ...` below one are what it prints

Other commands (installing, building) are other tests' business.
"""

import json
import os
import pathlib
import re
import signal
import subprocess

import pytest

from harness import PATIENCE, PROGRAM, ROOT, Broker, Client, Program, environment, panini

FENCE = re.compile(r"^```(\S*)[ \t]*(.*)$")
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "Sources").glob("*/*.docc/*.md"))]


class Block:
    """One fenced block and where it stands."""

    def __init__(self, path, line, language, info, text):
        self.path, self.line, self.language, self.info, self.text = path, line, language, info, text
        self.script = None  # for commands: the script before them

    @property
    def name(self):
        match = re.search(r"file=(\S+)", self.info)
        return match.group(1) if match else "script.lua"

    def __repr__(self):
        return f"{self.path.relative_to(ROOT)}:{self.line}"


def blocks():
    for path in DOCUMENTS:
        language, start, lines, script = None, 0, [], None
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            match = FENCE.match(line)
            if language is None and match:
                language, info, start, lines = match[1], match[2], number, []
            elif language is not None and line.startswith("```"):
                block = Block(path, start, language, info, "\n".join(lines) + "\n")
                block.script = script
                if language == "lua" and not {"inside", "check"} & set(info.split()) and "test=" not in info:
                    script = block
                yield block
                language = None
            elif language is not None:
                lines.append(line)
        assert language is None, f"{path}: a fence is not closed"


ALL = list(blocks())
SCRIPTS = [b for b in ALL if b.language == "lua" and not {"inside", "check"} & set(b.info.split()) and "test=" not in b.info]
TESTS = [b for b in ALL if b.language == "lua" and "test=" in b.info]
CHECKED = [b for b in ALL if b.language == "lua" and "check" in b.info.split()]
INSIDE = [b for b in ALL if b.language == "lua" and "inside" in b.info.split()]
COMMANDS = [b for b in ALL if b.language == "sh" and re.search(r"(^|[|] *)(panini|curl) ", b.text, re.MULTILINE)]
# Web servers of the documentation say 8080; here they take a free port, and so do the commands.
WEB = {"PANINI_WEB_PORT": "0"}


@pytest.fixture(scope="module")
def docs_broker():
    instance = Broker("embedded").start()
    yield instance
    instance.stop()


@pytest.fixture
def docs_client(docs_broker):
    instance = Client(docs_broker.url)
    yield instance
    instance.close()


def test_there_is_something_to_test():
    assert len(SCRIPTS) > 5 and len(INSIDE) > 3 and len(COMMANDS) > 5


@pytest.mark.parametrize("block", SCRIPTS, ids=repr)
def test_scripts_load_and_run(block, docs_broker, tmp_path):
    (tmp_path / block.name).write_text(block.text)
    result = panini("check", block.name, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    program = Program([PROGRAM, "run", block.name, "--server", docs_broker.url], cwd=tmp_path, env=environment(**WEB))
    try:
        program.wait_for(r"\bready\b")
        program.signal(signal.SIGTERM)
        assert program.wait() == 0, program.output
        assert "traceback" not in program.output
    finally:
        program.kill()


@pytest.mark.parametrize("block", CHECKED, ids=repr)
def test_scripts_load(block, tmp_path):
    (tmp_path / block.name).write_text(block.text)
    result = panini("check", block.name, cwd=tmp_path)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("block", TESTS, ids=repr)
def test_tests_pass(block, tmp_path):
    name = re.search(r"test=(\S+)", block.info).group(1)
    (tmp_path / block.script.name).write_text(block.script.text)
    (tmp_path / name).write_text(block.text)
    result = panini("test", name, cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr


WRAPPER = """local app = panini.app{ service_name = "docs" }
app.listen("demo.price", function() return { price = 4.5 } end)
app.listen("demo.run", function(msg)
%s
return { ran = true }
end)
"""


@pytest.mark.parametrize("block", INSIDE, ids=repr)
def test_snippets_run_inside_a_handler(block, docs_broker, docs_client, tmp_path):
    (tmp_path / "docs.lua").write_text(WRAPPER % block.text)
    program = Program([PROGRAM, "run", "docs.lua", "--server", docs_broker.url, "--debug"], cwd=tmp_path)
    try:
        program.wait_for(r"\bready\b")
        reply = docs_client.request("demo.run", b"{}")
        assert reply.json == {"ran": True}, program.output
        program.signal(signal.SIGTERM)
        assert program.wait() == 0
    finally:
        program.kill()


def steps(text):
    """(command, what it prints or None) of a command block."""
    result = []
    for line in text.splitlines():
        if line.startswith("# ") and result:
            command, output = result[-1]
            result[-1] = (command, (output or "") + line[2:] + "\n")
        elif line.strip() and not line.startswith("#"):
            result.append((line, None))
    return result


def same(one, other):
    """Equal as text, or line by line as JSON: the order of a Lua table's keys is not fixed."""
    if one == other:
        return True
    try:
        return [json.loads(line) for line in one.splitlines()] == [json.loads(line) for line in other.splitlines()]
    except ValueError:
        return False


@pytest.mark.parametrize("block", COMMANDS, ids=repr)
def test_commands_print_what_they_say(block, docs_broker, tmp_path):
    env = environment(NATS_URL=docs_broker.url, PATH=f"{pathlib.Path(PROGRAM).parent}{os.pathsep}{os.environ['PATH']}")
    (tmp_path / block.script.name).write_text(block.script.text)
    service = Program(
        [PROGRAM, "run", block.script.name, "--server", docs_broker.url], cwd=tmp_path, env=environment(**WEB)
    )
    try:
        service.wait_for(r"\bready\b")
        for command, output in steps(block.text):
            if not re.search(r"\b(panini|curl) ", command) or command.startswith(("scripts/", "sudo ", "git ")):
                continue
            command = command.replace("nats://127.0.0.1:4222", docs_broker.url)
            if command.startswith("curl "):
                port = re.search(r"web server on http://127\.0\.0\.1:(\d+)", service.output).group(1)
                command = command.replace("http://127.0.0.1:8080", f"http://127.0.0.1:{port}")
            if re.match(r"panini (run|dev) ", command):
                started = Program(["bash", "-c", f"exec {command}"], cwd=tmp_path, env=env)
                try:
                    started.wait_for(r"\bready\b")
                    started.signal(signal.SIGTERM)
                    assert started.wait() == 0, started.output
                finally:
                    started.kill()
                continue
            done = subprocess.run(
                ["bash", "-c", command],
                cwd=tmp_path,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                timeout=4 * PATIENCE,
                check=False,
            )
            failed = output is not None and '"success":false' in output
            assert done.returncode == (1 if failed and not command.startswith("curl ") else 0), (command, done.stderr, service.output)
            if output is not None:
                assert same(done.stdout, output), (command, done.stdout, output, service.output)
        service.signal(signal.SIGTERM)
        assert service.wait() == 0, service.output
    finally:
        service.kill()


def test_blocks_of_swift_are_those_that_the_build_compiles():
    result = subprocess.run([ROOT / "scripts" / "snippets", "--check"], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]*)(#[^)\s]*)?\)")


@pytest.mark.parametrize("path", [*DOCUMENTS, *sorted(ROOT.glob("[CS]*.md"))], ids=lambda p: p.name)
def test_links_lead_somewhere(path):
    text = path.read_text(encoding="utf-8")
    for target, anchor in LINK.findall(text):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        file = (path.parent / target).resolve() if target else path
        assert file.exists(), f"{path.name} → {target}"
        if anchor and file.suffix == ".md":
            headings = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}
            assert anchor[1:] in slugs, f"{path.name} → {target}{anchor}"


RULE_TEST = re.compile(r"@Test(.*?)\bfunc (\w+)", re.DOTALL)
RULE_NUMBERS = re.compile(r"\brules? (\d+(?:(?:, | and )\d+)*)")


def rule_tests():
    """{rule: {"Target/File": {function}}} by the names of the Swift tests."""
    rules = {}
    for path in sorted((ROOT / "Tests").glob("NATS*Tests/*.swift")):
        for attribute, function in RULE_TEST.findall(path.read_text(encoding="utf-8")):
            title = re.search(r'"((?:[^"\\]|\\.)*)"', attribute.split("arguments:")[0])
            numbers = {number for group in RULE_NUMBERS.findall(title[1] if title else "") for number in re.findall(r"\d+", group)}
            numbers.update(re.findall(r"^rule(\d+)", function))
            for number in numbers:
                rules.setdefault(int(number), {}).setdefault(f"{path.parent.name}/{path.stem}", set()).add(function)
    return rules


def test_the_table_of_protocol_rules_names_their_tests():
    listed = {}
    for line in (ROOT / "Tests" / "README.md").read_text(encoding="utf-8").splitlines():
        row = re.match(r"\| (\d+) \| .* \| (.*) \|$", line)
        if row:
            files = (entry.split(": ", 1) for entry in row[2].split("; "))
            listed[int(row[1])] = {file.strip("`"): set(re.findall(r"`(\w+)`", names)) for file, names in files}
    assert sorted(listed) == list(range(1, 29))
    actual = rule_tests()
    for rule, tests in listed.items():
        assert tests == actual.get(rule), f"Tests/README.md, rule {rule}"
    assert set(actual) == set(listed)


# Rows of docs/original.md: S of version 0.2.3, L of the later ones.
ROWS = [f"S{n}" for n in range(1, 51)] + [f"L{n}" for n in range(1, 37)]


def test_every_feature_of_the_original_has_its_test():
    text = (ROOT / "docs" / "original.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if re.match(r"\| [SL]\d", line)]
    assert [row[0] for row in rows] == ROWS
    for name, feature, here, tried in rows:
        assert feature and here, name
        if tried == "–":
            assert "not built yet" in here or "dropped" in here or "see " in here, name
            continue
        where = re.fullmatch(r"`([\w.]+?)(?:::(\w+))?`", tried)
        assert where, (name, tried)
        files = list((ROOT / "Tests").rglob(where[1]))
        assert len(files) == 1, (name, where[1])
        if where[2]:
            assert re.search(rf"^def {where[2]}\(", files[0].read_text(encoding="utf-8"), re.MULTILINE), (name, tried)
