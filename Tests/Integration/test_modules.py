"""Where modules come from: the script's folder, lua_modules, module_path, LUA_PATH, package.path; and what is refused."""

import json
import re

import pytest

from harness import Client, panini, script_text
from reloading import Reloading, save


@pytest.fixture
def place(tmp_path):
    """place(files) writes a tree with the script `service/test.lua`; place.check(script, …) checks it."""

    class Place:
        root = tmp_path
        service = tmp_path / "service"

        def write(self, files):
            for path, text in files.items():
                target = tmp_path / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(text)

        def check(self, script, *arguments, options="", env=None, cwd=None):
            self.write({"service/test.lua": script_text(script, "test", options)})
            cwd = cwd or self.service
            path = "test.lua" if cwd == self.service else self.service / "test.lua"
            return panini("check", path, *arguments, cwd=cwd, env={"LUA_PATH": ";;", **(env or {})})

        def works(self, *arguments, **options):
            result = self.check(*arguments, **options)
            assert result.returncode == 0, result.stderr

        def fails(self, text, *arguments, **options):
            result = self.check(*arguments, **options)
            assert result.returncode == 1 and text in result.stderr, result.stderr

    return Place()


def test_a_module_has_one_name_however_it_is_written(place):
    place.write({"service/lib/name.lua": "count = (count or 0) + 1 return { name = ... }"})
    place.works('assert(require "lib/name" == require "lib.name" and require "./lib/name".name == "lib.name" and count == 1)')
    # Above the folder there is nothing.
    place.write({"secret.lua": "return 'secret'"})
    for name in ("../secret", "lib/../../secret", "/" + str(place.root / "secret").lstrip("/"), "..secret", "a..b", "."):
        place.fails("names of modules lead out of no folder", f'require "{name}"')


def test_the_tree_of_luarocks_beside_the_script(place):
    place.write(
        {
            "service/lua_modules/share/lua/5.4/rock.lua": "return require 'rock.part' .. '!'",
            "service/lua_modules/share/lua/5.4/rock/part.lua": "return 'part'",
            "service/lua_modules/share/lua/5.4/package_of/init.lua": "return 'init'",
            "service/own.lua": "return 'own'",
            "service/lua_modules/share/lua/5.4/own.lua": "error('the script\\'s own comes first')",
        }
    )
    for arguments in ((), ("--untrusted",), ("--trust",)):
        place.works(
            'assert(require "rock" == "part!" and require "package_of" == "init" and require "own" == "own")', *arguments
        )


def test_module_path_of_the_script(place):
    place.write({"shared/util.lua": "return 'util'", "shared/deep/init.lua": "return 'deep'", "odd/x_mod.lua": "return 'odd'"})
    uses = 'assert(require "util" == "util" and require "deep" == "deep")'
    place.fails("no file 'util.lua'", uses)
    place.works(uses, options='module_path = "../shared"')
    place.works(uses + ' assert(require "x" == "odd")', options='module_path = { "../shared", "../odd/?_mod.lua" }')
    # Wherever the program was started.
    place.works(uses, options='module_path = "../shared"', cwd=place.root)
    place.fails('option "module_path" must be a list of strings', "", options="module_path = 5")
    place.fails('option "module_path" has an empty entry', "", options='module_path = ""')
    # An untrusted script does not say itself what it may read.
    place.fails("the script may not read", uses, "--untrusted", options='module_path = "../shared"')
    place.works(uses, "--untrusted", "--allow-read", place.root / "shared", options='module_path = "../shared"')


def test_module_path_from_outside(place):
    place.write({"shared/util.lua": "return 'util'", "more/thing.lua": "return 'thing'"})
    uses = 'assert(require "util" == "util" and require "thing" == "thing")'
    place.works(uses, "--module-path", "../shared", "--module-path", place.root / "more")
    place.works(uses, "--module-path", "shared,more", cwd=place.root)
    place.works(uses, "--untrusted", "--module-path", "../shared", "--module-path", "../more")
    place.works(uses, env={"PANINI_MODULE_PATH": "../shared,../more"})
    (place.root / "options.json").write_text(json.dumps({"module_path": ["shared", "more"]}))
    place.works(uses, "--config", "../options.json")
    # From outside replaces the script's own, as for every option.
    place.fails("module 'thing' not found", uses, "--module-path", "../shared", options='module_path = "../more"')


def test_the_environments_path(place):
    place.write({"lua/util.lua": "return 'util'"})
    uses = 'assert(require "util" == "util")'
    template = f"{place.root}/lua/?.lua"
    place.works(uses, env={"LUA_PATH": f"{template};;"})
    place.works(uses, env={"LUA_PATH_5_4": f";;{template}", "LUA_PATH": "/nowhere/?.lua"})
    place.works(uses, env={"LUA_PATH": "../lua/?.lua"})
    place.works(uses, "--trust", env={"LUA_PATH": f"{template};;"})
    # It is meant for all the user's Lua programs, and not for scripts that nobody trusts.
    place.fails("module 'util' not found", uses, "--untrusted", env={"LUA_PATH": template})


def test_a_script_sets_the_path_itself(place):
    place.write({"service/lib/inner.lua": "return 'inner'", "secret/key.lua": "return 'key'", "service/vendor/v.lua": "return 'v'"})
    place.works('package.path = "./lib/?.lua;" .. package.path assert(require "inner" == "inner" and package.searchpath("inner", package.path) == "lib/inner.lua")')
    place.works('package.path = "lib/?.lua" assert(require "inner" == "inner" and not pcall(require, "vendor.v"))')
    # A folder taken from the script's own path, as libraries do it, from wherever the program was started.
    own = 'local dir = debug.getinfo(1, "S").source:match("^@(.*/)") or "./" package.path = dir .. "vendor/?.lua;" .. package.path assert(require "v" == "v")'
    place.works(own)
    for cwd in (place.root, place.root.parent):
        result = panini("check", str(place.service / "test.lua"), cwd=cwd)
        assert result.returncode == 0, result.stderr
        result = panini("check", str(place.service / "test.lua").removeprefix(f"{cwd}/"), cwd=cwd)
        assert result.returncode == 0, result.stderr
    # Within the permitted folders only; nothing tells whether a file beyond them is there.
    for path in ("../secret/?.lua", f"{place.root}/secret/?.lua", "./lib/../../secret/?.lua"):
        for name in ("key", "nothing"):
            script = f'package.path = "{path}" local found, message = package.searchpath("{name}", package.path) assert(not found) require "{name}"'
            place.fails("(not in a folder for modules: the option module_path adds one)", script)
    place.works('package.path = "../secret/?.lua" assert(require "key" == "key")', "--trust")
    place.works('package.path = "../secret/?.lua" assert(require "key" == "key")', "--untrusted", "--allow-read", place.root / "secret")
    place.fails("'package.path' must be a string", 'package.path = nil require "x"')
    # However long it is.
    place.fails("no more than 200 places", 'package.path = ("./?.lua;"):rep(1000) require "nothing"')
    place.fails("'package.path' is longer than 65536 bytes", 'package.path = ("./?.lua;"):rep(10000) require "nothing"')
    place.fails("no file for a name of more than 1000 bytes", 'require(("x"):rep(1001))')


def test_links_out_of_the_folders(place):
    place.write({"outside/secret.lua": "return 'secret'", "service/own.lua": "return 1", "service/lua_modules/share/lua/5.4/x.lua": ""})
    (place.service / "link.lua").symlink_to(place.root / "outside" / "secret.lua")
    (place.service / "lua_modules/share/lua/5.4/rock").symlink_to(place.root / "outside")
    place.works('assert(require "link" == "secret")')
    for name in ("link", "rock.secret"):
        place.fails("(a link leads out of the folders for modules: --module-path and --allow-read add one)", f'require "{name}"', "--untrusted")
        place.works(f'assert(require "{name}" == "secret")', "--untrusted", "--allow-read", place.root / "outside")
        place.works(f'assert(require "{name}" == "secret")', "--untrusted", "--module-path", place.root / "outside")


def test_not_found_lists_where_it_looked(place):
    place.write({"shared/util.lua": "return 'util'"})
    result = place.check('require "no.such"', options='module_path = "../shared"')
    shared = place.root / "shared"
    assert result.stderr.split("panini: ", 1)[1].rstrip() == "\n".join(
        [
            "test.lua:2: module 'no.such' not found:",
            "    \tno field package.preload['no.such']",
            "    \tno file 'no/such.lua'",
            "    \tno file 'no/such/init.lua'",
            "    \tno file 'lua_modules/share/lua/5.4/no/such.lua'",
            "    \tno file 'lua_modules/share/lua/5.4/no/such/init.lua'",
            f"    \tno file '{shared}/no/such.lua'",
            f"    \tno file '{shared}/no/such/init.lua'",
            "    \tno module in C: they are closed to scripts (--trust opens them)",
        ]
    )
    place.write({"service/broken.lua": "x x"})
    place.fails("error loading module 'broken':\n    \tbroken.lua:1: syntax error near 'x'", 'require "broken"')


def test_modules_everywhere_are_watched(start, nats_server, tmp_path):
    control = {"PANINI_CONTROL_DIR": str(tmp_path / "control")}
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "util.lua").write_text("return 'util 1'")
    running = start(
        nats_server.url,
        """
        local rock, util = require "rock", require "util"
        local has_own, own = pcall(require, "late")
        app.listen("ask", function() return { rock, util, has_own and own } end)
        """,
        options='module_path = "../shared"',
        arguments=["--watch"],
        files={"lua_modules/share/lua/5.4/rock.lua": "return 'rock 1'"},
        env=control,
    )
    service = Reloading(running, control)
    client = Client(nats_server.url)
    try:
        assert client.ask("ask", {}) == ["rock 1", "util 1", False]
        save(running.path.parent / "lua_modules/share/lua/5.4/rock.lua", "return 'rock 2'")
        service.reloaded(to=2)
        assert client.ask("ask", {}) == ["rock 2", "util 1", False]
        save(shared / "util.lua", "return 'util 2'")
        service.reloaded(to=3)
        # One that was not there, in a place that comes later.
        save(shared / "late.lua", "return 'late'")
        service.reloaded(to=4)
        assert client.ask("ask", {}) == ["rock 2", "util 2", "late"]
    finally:
        client.close()


def test_what_is_written_to_standard_streams_goes_to_the_log(start, nats_server):
    running = start(
        nats_server.url,
        """
        io.write("one ", 1, "\\ntwo")
        print(" printed")
        io.stderr:write("a warning\\n", "without an end")
        io.stdout:write("flushed"):flush()
        io.stdout:write("last words")
        setmetatable({}, { __gc = print })
        for _ = 1, 10 do setmetatable({}, { __gc = print }) collectgarbage() end
        """,
    )
    running.stop()
    output = running.output
    for level, text in (
        ("INFO", "one 1"), ("INFO", "two printed"), ("WARNING", "a warning"), ("INFO", "flushed"), ("INFO", "last words"),
        ("WARNING", "without an end"),
    ):  # fmt: skip
        assert re.search(rf"{level} +[^\n]*\b{text}$", output, re.MULTILINE), output
    assert output.count("__gc is ignored") == 1 and output.count("collectgarbage does nothing but count") == 1
    assert "test.lua:7: __gc is ignored" in output


def test_what_is_closed_names_the_way_and_trust_opens_it(check):
    closed = {
        'os.execute("true")': "os.execute",
        'os.remove("nothing.txt")': "os.remove",
        'os.rename("nothing.txt", "x")': "os.rename",
        "os.tmpname()": "os.tmpname",
        'io.popen("true"):close()': "io.popen",
        'loadfile("nothing.lua")': "loadfile",
        'pcall(dofile, "nothing.lua") dofile("empty.lua")': "dofile",
        'package.loadlib("no.so", "f")': "package.loadlib",
        "debug.getregistry()": "debug.getregistry",
        "debug.sethook(function() end, 'l') debug.sethook()": "debug.sethook",
        "debug.getlocal(1, 1)": "debug.getlocal",
        "debug.getinfo(1, 'f').func()": "debug.getinfo",
        "debug.setmetatable(1, {}) debug.setmetatable(1, nil)": "debug.setmetatable",
        'assert(io.open("made.txt", "w")):close()': "files are",
        'for line in assert(io.lines("empty.lua")) do end': "files are",
    }
    for script, name in closed.items():
        script = script if "getinfo" not in script else 'debug.getinfo(print, "f")'
        result = check(script, files={"empty.lua": ""})
        assert result.returncode == 1 and name in result.stderr and "(--trust opens" in result.stderr, result.stderr
        result = check(script, "--trust")
        assert result.returncode == 0, result.stderr
    result = check('string.dump(print)')
    assert "bytecode is never loaded" in result.stderr
    # What only refuses may be replaced, and is back when it is taken away.
    assert check('os.exit = function() return 5 end assert(os.exit() == 5) os.exit = nil assert(not pcall(os.exit))').returncode == 0


def test_the_environment_of_libraries(check, monkeypatch):
    monkeypatch.setenv("SOME_OF_THE_TEST", "x")
    assert check('assert(os.getenv("SOME_OF_THE_TEST") == "x" and os.getenv("NO_SUCH_VARIABLE") == nil)').returncode == 0
    result = check('os.getenv("SOME_OF_THE_TEST")', "--untrusted")
    assert "may not read SOME_OF_THE_TEST (--allow-env SOME_OF_THE_TEST)" in result.stderr
    assert check('assert(os.getenv("SOME_OF_THE_TEST") == "x")', "--untrusted", "--allow-env", "SOME_OF_THE_TEST").returncode == 0
