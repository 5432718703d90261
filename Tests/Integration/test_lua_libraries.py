"""Libraries of the field, unchanged: each is loaded and used. docs/scripts.md has the same list. They are brought by the step `tools`
(scripts/lib/tools.sh), those in C are installed by it (scripts/lib/system.sh)."""

import re
from pathlib import Path

import pytest

from harness import panini, script_text

ROOT = Path(__file__).resolve().parents[2]
SHARE = ROOT / ".tools" / "lua" / "packages" / "usr" / "share" / "lua"

# What each is called in the documentation → Lua that uses it.
ORDINARY = {
    "ansicolors": 'local colors = require "ansicolors" assert(colors("%{red}x"):find("\\27%[31m"))',
    "argparse": """
        local parser = require "argparse"("script", "an example")
        parser:argument("input")
        parser:option("-o --output", "where to", "a.out")
        parser:flag("-v --verbose"):count "0-2"
        local args = parser:parse{ "in.txt", "-o", "x", "-vv" }
        assert(args.input == "in.txt" and args.output == "x" and args.verbose == 2)
        local ok, err = parser:pparse{}
        assert(not ok and err:find("missing argument"))
    """,
    "basexx": 'local b = require "basexx" assert(b.from_base32(b.to_base32("hällo")) == "hällo" and b.to_hex("\\1\\255") == "01FF")',
    "binaryheap": """
        local heap = require "binaryheap".minUnique()
        for value, name in pairs{ [3] = "c", [1] = "a", [2] = "b" } do heap:insert(value, name) end
        assert(heap:pop() == "a" and heap:pop() == "b")
    """,
    "cliargs": """
        local cli = require "cliargs"
        cli:set_name("script")
        cli:argument("FILE", "a file")
        cli:option("-n, --number=N", "how many", 5)
        local args = cli:parse{ "x.txt" }
        assert(args.FILE == "x.txt" and tostring(args.number) == "5")
    """,
    "compat53": 'local module = require "compat53.module" assert(module.table.unpack({ 1, 2 }) == 1 and module.string.pack)',
    "coxpcall": """
        local safe = require "coxpcall"
        local pcall = safe.pcall or pcall
        local ok, err = pcall(function() coroutine.isyieldable() error("x", 0) end)
        assert(not ok and err == "x")
    """,
    "dkjson": """
        local json = require "dkjson"
        local text = json.encode({ 1, 2, { pizza = "zz", price = 69.01 } }, { keyorder = { "pizza", "price" } })
        assert(text == '[1,2,{"pizza":"zz","price":69.01}]', text)
        assert(json.decode(text)[3].pizza == "zz")
        assert(json.encode("a\\0z") == '"a\\\\u0000z"')
    """,
    "fifo": 'local fifo = require "fifo"(1, 2) fifo:push(3) assert(fifo:pop() == 1 and #fifo == 2)',
    "inspect": 'assert(require "inspect"({ a = 1, { "x" } }) == \'{ { "x" },\\n  a = 1\\n}\')',
    "logging": """
        local said = {}
        local logger = require "logging".new(function(self, level, message) said[#said + 1] = level .. ":" .. message return true end)
        logger:setLevel("ERROR")
        said = {}
        logger:info("no") logger:error("number %d", 5) logger:fatal({ a = 1 })
        assert(#said == 2 and said[1] == "ERROR:number 5", said[1])
        require "logging.console"():info("to the log")
    """,
    "ltn12": """
        local ltn12 = require "ltn12"
        local out = {}
        assert(ltn12.pump.all(ltn12.source.string(("x"):rep(5000)), (ltn12.sink.table(out))))
        assert(#table.concat(out) == 5000)
    """,
    "luacheck": """
        local luacheck = require "luacheck"
        local report = luacheck.check_strings{ "local x = 1 y = x return z" }
        assert(report.warnings == 2 and report.errors == 0)
        assert(luacheck.get_message(report[1][1]):find("setting non%-standard global variable 'y'"))
    """,
    "luassert": """
        local assert = require "luassert"
        assert.are.same({ a = { 1 } }, { a = { 1 } })
        assert.has_error(function() error("x", 0) end, "x")
        local ok, err = pcall(assert.are.equal, 1, 2)
        assert.is_false(ok)
        local spy = require "luassert.spy".new(function() return 5 end)
        spy(1, 2)
        assert.spy(spy).was.called_with(1, 2)
    """,
    "luaunit": """
        local lu = require "luaunit"
        TestThis = {}
        function TestThis:testAdd() lu.assertEquals({ 1, { a = 2 } }, { 1, { a = 2 } }) end
        function TestThis:testFails() lu.assertErrorMsgContains("boom", function() error("boom") end) end
        local runner = lu.LuaUnit.new()
        assert(runner:runSuite("-o", "text") == 0)
    """,
    "mediator": """
        local mediator = require "mediator"()
        local got
        mediator:subscribe({ "a", "b" }, function(value) got = value end)
        mediator:publish({ "a", "b" }, 7)
        assert(got == 7)
    """,
    "MessagePack": """
        local mp = require "MessagePack"
        local value = mp.unpack(mp.pack{ a = { 1, 2.5, "x" }, b = true })
        assert(value.a[2] == 2.5 and value.b)
    """,
    "moses": 'local m = require "moses" assert(m.sum(m.map({ 1, 2, 3 }, function(v) return v * 2 end)) == 12)',
    "Penlight": """
        local List, stringx, pretty = require "pl.List", require "pl.stringx", require "pl.pretty"
        assert(List{ 3, 1, 2 }:sort():concat(",") == "1,2,3")
        stringx.import()
        assert(("a,b"):split(",")[2] == "b" and (" x "):strip() == "x")
        assert(pretty.read(pretty.write{ a = { 1, 2 } }).a[2] == 2)
        local template = require "pl.template"
        assert(template.substitute("# for i = 1, 2 do\\n$(i);\\n# end\\n", { _escape = "#" }) == "1;\\n2;\\n")
        local class = require "pl.class"
        local Animal = class()
        function Animal:_init(name) self.name = name end
        assert(Animal("x").name == "x" and Animal:class_of(Animal("y")))
        assert(require "pl.data".read(require "pl.stringio".open("a,b\\n1,2\\n")):select_row("a where a == 1"))
        require "pl.text".format_operator()
        assert("%d-%s" % { 5, "x" } == "5-x")
        assert(require "pl.xml".parse("<a><b c='1'/></a>"):get_elements_with_name("b")[1].attr.c == "1")
    """,
    "redis": """
        local redis = require "redis"
        local answers, sent = { "+PONG\\r\\n" }, {}
        local client = redis.connect{ socket = {
            send = function(_, text) sent[#sent + 1] = text return #text end,
            receive = function() return table.remove(answers, 1):sub(1, -3) end,
        } }
        assert(client:ping() and sent[1] == "*1\\r\\n$4\\r\\nPING\\r\\n")
    """,
    "say": """
        local say = require "say"
        say:set_namespace("en")
        say:set("greeting", "hello %s")
        assert(say("greeting", { "you" }) == "hello you")
    """,
    "uri": """
        local uri = require "uri":new("HTTP://example.com:80/a/../b?q=1#f")
        assert(tostring(uri) == "http://example.com/b?q=1#f" and uri:host() == "example.com")
    """,
    "wsapi": """
        local util = require "wsapi.util"
        assert(util.url_encode("a b/ü") == "a+b%2f%c3%bc" or util.url_decode(util.url_encode("a b/ü")) == "a b/ü")
    """,
}

TRUSTED = {
    "busted": """
        local busted = require "busted.core"()
        require "busted"(busted)
        local ran
        busted.subscribe({ "test", "end" }, function(element, parent, status) ran = status end)
        busted.executors.describe("a suite", function() busted.executors.it("passes", function() assert(true) end) end)
        require "busted.execute"(busted)(1, {})
        assert(ran == "success", ran)
    """,
    "http": 'assert(require "http.util".encodeURIComponent("a b") == "a%20b" and require "http.headers".new():append("a", "b") == nil)',
    "inifile": """
        local inifile = require "inifile"
        local file = assert(io.open("some.ini", "w"))
        file:write("[section]\\nkey = 5\\n")
        file:close()
        assert(inifile.parse("some.ini").section.key == 5)
    """,
    "json": """
        local json = require "json"
        assert(json.decode('{"a": [1, "pizza"]}').a[2] == "pizza" and json.encode{ 1, "zz" } == '[1,"zz"]')
    """,
    "ldoc": 'assert(require "ldoc.markup" and require "ldoc.parse")',
    "lpeg": """
        local lpeg = require "lpeg"
        local numbers = lpeg.Ct((lpeg.C(lpeg.R"09" ^ 1) / tonumber * lpeg.P"," ^ -1) ^ 0)
        assert(numbers:match("1,22,333")[3] == 333)
        assert(require "re".match("hello world", "{[a-z]+} ' ' {[a-z]+}") == "hello")
    """,
    "lpeg_patterns": 'assert(require "lpeg_patterns.IPv4".IPv4address:match("127.0.0.1"))',
    "lua-cjson": 'local json = require "cjson" assert(json.decode(json.encode{ a = { 1, 2.5 } }).a[2] == 2.5 and require "cjson.util")',
    "LuaFileSystem": 'local lfs = require "lfs" assert(lfs.attributes(".", "mode") == "directory" and require "pl.path".exists("main.lua"))',
    "LuaSQL": """
        local connection = assert(require "luasql.sqlite3".sqlite3():connect(":memory:"))
        assert(connection:execute("create table t (a integer, b text)"))
        for i = 1, 50 do
            assert(connection:execute(("insert into t values (%d, 'x%d')"):format(i, i)))
            app.listen("table.changes." .. i, function() end)
        end
        local cursor = assert(connection:execute("select a, b from t order by a desc"))
        assert(cursor:fetch({}, "a").b == "x50")
        cursor:close()
        assert(connection:close())
    """,
    "lua-system": 'assert(require "system".gettime() > 1e9)',
    "lua-term": 'assert(require "term.colors".red("x"):find("x"))',
}

# Modules of Penlight that need another library, which is in C.
NEEDS_LFS = {"app", "dir", "file", "path", "test"}


def use(tmp_path, code, *arguments):
    (tmp_path / "main.lua").write_text(script_text(code, "main", "logger_required = false"))
    return panini(
        "check", "main.lua", "--module-path", ",".join(str(SHARE / version) for version in ("5.4", "5.3", "5.1")),
        *arguments, cwd=tmp_path, env={"LUA_PATH": ";;", "LUA_CPATH": ";;"},
    )  # fmt: skip


@pytest.mark.parametrize("name", ORDINARY)
def test_libraries_in_lua_load_and_work(name, tmp_path):
    result = use(tmp_path, ORDINARY[name])
    assert result.returncode == 0, result.stderr
    # An untrusted script may have them as well: what it is given by the host is allowed.
    result = use(tmp_path, ORDINARY[name].replace("os.getenv", "print"), "--untrusted")
    assert result.returncode == 0 or "may not read" in result.stderr, result.stderr


@pytest.mark.parametrize("name", TRUSTED)
def test_libraries_with_parts_in_c_work_in_trusted_scripts(name, tmp_path):
    result = use(tmp_path, TRUSTED[name], "--trust")
    assert result.returncode == 0, result.stderr
    result = use(tmp_path, TRUSTED[name])
    assert result.returncode == 1, f"{name} needs no trust"
    assert "--trust" in result.stderr or "requires LuaFileSystem" in result.stderr, result.stderr


def test_all_of_penlight(tmp_path):
    modules = {path.stem for path in (SHARE / "5.4" / "pl").glob("*.lua")} - {"init"}
    assert len(modules) >= 34 and NEEDS_LFS < modules
    loads = "\n".join(
        f'do local ok, err = pcall(require, "pl.{module}") '
        f'assert({"not ok and err:find[[requires LuaFileSystem]]" if module in NEEDS_LFS else "ok"}, "{module}: " .. tostring(err)) end'
        for module in sorted(modules)
    )
    result = use(tmp_path, loads)
    assert result.returncode == 0, result.stderr
    result = use(tmp_path, "\n".join(f'require "pl.{module}"' for module in sorted(modules)), "--trust")
    assert result.returncode == 0, result.stderr


def test_the_documentation_has_the_list():
    page = (ROOT / "docs" / "scripts.md").read_text()
    section = page.split("### Libraries that were tried\n", 1)[1].split("\n## ", 1)[0].split("\n### ", 1)[0]
    rows = re.findall(r"^\| ([^|]+?) \| (any script|trusted) \|", section, re.MULTILINE)
    names = {name.strip(): level for name, level in rows}
    assert names == {**{name: "any script" for name in ORDINARY}, **{name: "trusted" for name in TRUSTED}}
    assert len(names) >= 30
    assert set(re.findall(r"`pl\.(\w+)`", section)) == NEEDS_LFS
