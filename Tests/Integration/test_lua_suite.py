"""Lua's own tests, as they are, in the sandbox: what passes unchanged, and what differs, each with its reason. docs/security.md
has the same list. The files are brought by the step `tools` (scripts/lib/tools.sh)."""

import re
from pathlib import Path

import pytest

from harness import panini

ROOT = Path(__file__).resolve().parents[2]
SUITE = ROOT / ".tools" / "lua" / "suite"

# Files that need neither files nor Lua's own test functions in C.
FILES = (
    "big", "bitwise", "bwcoercion", "calls", "closure", "code", "constructs", "coroutine", "cstack", "errors", "events", "goto", "literals",
    "locals", "math", "nextvar", "pm", "sort", "strings", "tpack", "utf8", "vararg",
)  # fmt: skip

BYTECODE = "bytecode is neither made nor loaded: Lua does not check it"
BASIC_TYPES = "`debug.setmetatable` is closed: metatables of numbers, booleans and nil are the host's"
HOOKS = "`debug.sethook` is closed: hooks are the watchdog's"
ORDER = "`table.sort` is a merge sort: a comparison that contradicts itself gives some order, and no error"
USERDATA = "`debug.setuservalue` is closed: userdata are the host's"
STREAMS = "the metatable of `io.stdout` is the host's"

# file → reason → [first line, last line (None: it alone), what stands in their place]
DIFFERENCES = {
    "calls": {
        BYTECODE: [
            ("f = load(string.dump(function () return 1 end)", "assert(type(f) == \"function\" and f() == 1)", ""),
            ("do   -- another bug (in 5.4.0)", "end", ""),
            ("x = string.dump(load(\"x = 1; return x\"))", "assert(a() == 1 and _G.x == 1)", "x = '\\27Lua'"),
            ("local d = string.dump(h)", "debug.setupvalue(x, 2, _G)", "x = h"),
            ("x = string.dump(a)", "a = assert(load(read1(x), \"read\", \"b\"))", ""),
            ("x = load(string.dump(function (x)", None, "x = ((function (x)"),
            ("end), \"\", \"b\", nil)", "assert(x() == nil)", "end))"),
            ("  f = load(string.dump(f))   -- main chunk", None, ""),
            ("print(\"testing binary chunks\")", "end", ""),
        ]
    },
    "errors": {
        USERDATA: [("_G.D = debug", "]], \"light userdata\")", "")],
        BYTECODE: [
            ("-- errors in functions without debug info", "end", ""),
        ],
        STREAMS: [("checkmessage(\"getmetatable(io.stdin).__gc()\"", None, "")],
    },
    "events": {BASIC_TYPES: [("-- testing metatables for basic types", "debug.setmetatable(nil, {})", "")]},
    "locals": {HOOKS: [("do   -- '__close' vs. return hooks in Lua functions", "end", "")]},
    "sort": {ORDER: [("  checkerror(\"invalid order function\"", None, "  table.sort(t, f)")]},
}


def patched(text, places, name):
    """The text with each region replaced; the lines after it keep their numbers."""
    lines = text.split("\n")
    for first, last, replacement in places:
        starts = [i for i, line in enumerate(lines) if line.startswith(first)]
        assert len(starts) == 1, f"{name}: {first!r} stands {len(starts)} times"
        start = starts[0]
        end = start if last is None else next(i for i in range(start + 1, len(lines)) if lines[i].rstrip() == last.rstrip())
        lines[start : end + 1] = [replacement, *[""] * (end - start)]
    return "\n".join(lines)


def run(tmp_path, name, places):
    text = (SUITE / f"{name}.lua").read_bytes().decode("latin-1")
    (tmp_path / f"{name}.lua").write_bytes(patched(text, places, name).encode("latin-1"))
    for helper in ("bwcoercion", "tracegc"):
        if helper != name:
            (tmp_path / f"{helper}.lua").write_bytes((SUITE / f"{helper}.lua").read_bytes())
    (tmp_path / "main.lua").write_text(
        f"""
        panini.app{{ service_name = "suite", logger_required = false, limits = {{ cpu = 900, load = 900, memory = "4GB" }} }}
        if "{name}" == "big" then
            local body = coroutine.wrap(assert(package.searchers[2]("big")))
            assert(body() == "b" and body() == "a")
        else
            local ok, err = xpcall(require, debug.traceback, "{name}")
            if not ok then error(err, 0) end
        end
        """
    )
    return panini("check", "main.lua", cwd=tmp_path, timeout=600)


@pytest.mark.parametrize("name", FILES)
def test_luas_own_tests_pass(name, tmp_path):
    differences = DIFFERENCES.get(name, {})
    result = run(tmp_path, name, [place for places in differences.values() for place in places])
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("name", DIFFERENCES)
def test_each_difference_is_one(name, tmp_path):
    """With any one of them unpatched the file fails: no more is left out than must be."""
    everything = [place for places in DIFFERENCES[name].values() for place in places]
    for place in everything:
        result = run(tmp_path, name, [other for other in everything if other is not place])
        assert result.returncode == 1, f"{name}: {place[0]!r} is no difference"


def test_the_documentation_has_the_list():
    page = (ROOT / "docs" / "security.md").read_text()
    section = page.split("### Lua's own tests\n", 1)[1].split("\n## ", 1)[0]
    listed = {}
    for file, reason in re.findall(r"^\| `(\w+)\.lua` \| (.+) \|$", section, re.MULTILINE):
        listed.setdefault(file, set()).add(reason)
    assert listed == {file: set(reasons) for file, reasons in DIFFERENCES.items()}
    assert set(re.findall(r"`(\w+)`", section.split("Unchanged: ", 1)[1].split(".", 1)[0])) == set(FILES) - set(DIFFERENCES)
