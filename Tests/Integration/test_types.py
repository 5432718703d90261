"""panini.d.lua: what editors are told is what a running script finds, both ways."""

import json
import re

import pytest

from harness import ROOT, panini

DEFINITIONS = ROOT / "docs" / "panini.d.lua"

# Members that are neither host functions nor listed by walking a table: they belong to the values themselves.
CLASSES_OF_VALUES = {"panini.Message", "panini.Request"}


@pytest.fixture(scope="module")
def definitions():
    result = panini("types")
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_file_in_the_repository_is_what_the_program_prints(definitions):
    assert DEFINITIONS.read_text(encoding="utf-8") == definitions, "run: panini types --output docs/panini.d.lua"


def classes(text):
    """{class: {field}} of the annotations, functions of its table included."""
    result, current, tables = {}, None, {}
    for line in text.splitlines():
        if match := re.match(r"---@class ([\w.]+)", line):
            current = match[1]
            result.setdefault(current, set())
        elif match := re.match(r"---@field (\w+)\??", line):
            result[current].add(match[1])
        elif match := re.match(r"(?:local )?([\w.]+) = \{\}", line):
            tables[match[1]] = current
        elif match := re.match(r"function ([\w.]+)\.(\w+)\(", line):
            result[tables[match[1]]].add(match[2])
    return result


# What a script finds, by the class that the definitions say it has.
WALK = """
local app = panini.app{ service_name = "walk", web_server = true, web_port = 0 }
local function names(t)
    local list = panini.array{}
    for name in pairs(t) do list[#list + 1] = name end
    return list
end
local found = {
    ["panini"] = names(panini), ["panini.App"] = names(app), ["panini.HTTP"] = names(app.http),
    ["panini.JSON"] = names(panini.json), ["panini.Base64"] = names(panini.base64), ["panini.Hash"] = names(panini.hash),
    ["panini.BuiltInMiddlewares"] = names(panini.middleware), ["panini.Logger"] = names(app.logger),
}
-- Whatever else is a table of functions must have a class, too.
for prefix, t in pairs{ ["panini."] = panini, ["app."] = app } do
    for name, value in pairs(t) do
        if type(value) == "table" then found[prefix .. name] = names(value) end
    end
end
print(panini.json.encode(found))
"""
PATHS = {"panini.json": "panini.JSON", "panini.base64": "panini.Base64", "panini.hash": "panini.Hash"}
PATHS |= {"panini.middleware": "panini.BuiltInMiddlewares", "app.http": "panini.HTTP", "app.logger": "panini.Logger"}
PATHS |= {"app.shared": "panini.Shared"}


def test_every_name_of_a_running_script_is_defined_and_no_other(definitions, check):
    result = check(WALK)
    assert result.returncode == 0, result.stderr
    found = json.loads(re.search(r"(\{.*\})", result.stderr)[1])
    defined = classes(definitions)
    for name, members in found.items():
        name = PATHS.get(name, name)
        assert name in defined, f"{name} is a table of scripts; panini.d.lua has no class for it (Sources/Panini/Features)"
        assert set(members) - defined[name] == set(), f"{name}: without annotation in Sources/Panini/Features"
        assert defined[name] - set(members) == set(), f"{name}: annotated in Sources/Panini/Features, but not there"


def test_no_function_is_without_types(definitions):
    lines = definitions.splitlines()
    for number, line in enumerate(lines):
        if not line.startswith("function "):
            continue
        names = re.search(r"\((.*)\) end$", line)[1]
        block, at = [], number - 1
        while lines[at].startswith("---"):
            block.append(lines[at])
            at -= 1
        said = [m[1] for b in reversed(block) if (m := re.match(r"---@param ([\w.]+)\??", b))]
        assert ", ".join(said) == names, line
        # A bare signature stands in for a missing annotation.
        assert block and " -> " not in block[-1], f"{line}: without annotation in Sources/Panini/Features"


def test_every_type_that_is_named_exists(definitions):
    defined = set(re.findall(r"---@(?:class|alias) ([\w.]+)", definitions))
    named = set(re.findall(r"\bpanini\.[A-Z]\w*(?:\.\w+)?", definitions))
    assert named - defined == set()


def test_the_definitions_are_lua(definitions, tmp_path):
    (tmp_path / "definitions.lua").write_text(definitions)
    (tmp_path / "service.lua").write_text('require "definitions"\npanini.app{ service_name = "x" }\n')
    # The file replaces the global, so the call above makes no app: no syntax error is all that counts.
    result = panini("check", "service.lua", cwd=tmp_path)
    assert "made no app" in result.stderr, result.stderr


# ---- option tables: what is annotated is accepted, what is accepted is annotated

CALLS = {
    "panini.ListenOptions": 'app.listen("a", { %s = X }, function() end)',
    "panini.TimerOptions": "app.timer_task(1, { %s = X }, function() end)",
    "panini.Filters": "app.add_filters{ %s = X }",
    "panini.RouteOptions": 'app.http.get("/%s", { %s = X }, function() end)',
    "panini.WebSocketOptions": 'app.http.websocket("/%s", { %s = X }, function() end)',
    "panini.BridgeOptions": 'app.http.nats_bridge("/%s", { %s = X })',
    "panini.StaticOptions": 'app.http.static("/%s", ".", { %s = X })',
    "panini.ResponseOptions": "panini.response{ %s = X }",
    "panini.CORSOptions": "panini.middleware.cors{ %s = X }",
    "panini.TimeoutMiddlewareOptions": "panini.middleware.timeout{ %s = X }",
    "panini.ErrorMiddlewareOptions": "panini.middleware.error{ %s = X }",
    "panini.DebugMiddlewareOptions": "panini.middleware.debug{ %s = X }",
    "panini.Field": "panini.field{ %s = X }",
    "panini.ValidatorOptions": "panini.validator({}, { %s = X })",
}


def test_annotated_options_are_accepted(definitions, check):
    defined = classes(definitions)
    lines = ["local X = setmetatable({}, {})"]
    for name, call in CALLS.items():
        for option in sorted(defined[name]) + ["no_such_option"]:
            text = call.replace("%s", option)
            lines.append(f'print("{name}.{option}", pcall(function() {text} end))')
    result = check("\n".join(lines), options="web_server = true, web_port = 0")
    assert result.returncode == 0, result.stderr
    for name in CALLS:
        assert re.search(rf"{name}\.no_such_option\t.*(unknown|no option|no member)", result.stderr), name
        for option in defined[name]:
            said = re.search(rf"{re.escape(name)}\.{option}\t(.*)", result.stderr)[1]
            assert not re.search(r"unknown (option|member)", said), f"{name}.{option}: {said}"


def test_accepted_options_are_annotated(definitions):
    defined = set().union(*classes(definitions).values())
    accepted = {}
    for path in (ROOT / "Sources" / "Panini").rglob("*.swift"):
        # The log configuration is a file of its own.
        if path.name.startswith("LogConfiguration"):
            continue
        for block in re.findall(r"\b(?:known(?::| =)|\w*Options =)\s+(?:[\w.]+ \+ )?(\[[^\]]*\])", path.read_text(encoding="utf-8")):
            for option in re.findall(r'"(\w+)"', block):
                accepted[option] = path.name
    assert len(accepted) > 30
    for option, file in accepted.items():
        assert option in defined, f"option {option} ({file}) is in no class of Sources/Panini/Features"


def test_options_of_the_app_come_from_the_table(definitions):
    fields = classes(definitions)["panini.AppOptions"]
    assert {"service_name", "servers", "auth", "tls", "limits", "web_tls", "handler_timeout"} <= fields


# ---- values


def test_fields_of_a_message(definitions, service, client):
    fields = sorted(classes(definitions)["panini.Message"])
    service(
        """
        app.listen("demo.{id}", function(msg)
            local found = panini.array{}
            for _, name in ipairs(%s) do
                if msg[name] ~= nil then found[#found + 1] = name end
            end
            return found
        end)
        """
        % lua_list(fields)
    )
    assert sorted(client.ask("demo.1", {})) == fields


def test_fields_of_a_request(definitions, start, broker):
    from test_http import Web

    fields = sorted(classes(definitions)["panini.Request"])
    instance = start(
        broker.url,
        """
        app.http.get("/", function(req)
            local found = panini.array{}
            for _, name in ipairs(%s) do
                if req[name] ~= nil then found[#found + 1] = name end
            end
            return found
        end)
        """
        % lua_list(fields),
        options="web_server = true, web_port = 0",
    )
    reply = Web(instance).get("/")
    assert sorted(json.loads(reply.body)) == fields


def test_fields_of_a_websocket(definitions):
    """Written down on the C side of the object."""
    source = (ROOT / "Sources" / "CScriptObjects" / "websocket.c").read_text(encoding="utf-8")
    names = set(re.findall(r'\[PANINI_WEBSOCKET_\w+\] = "(\w+)"', source))
    assert len(names) > 5
    assert names == classes(definitions)["panini.WebSocket"]


def lua_list(names):
    return "{ " + ", ".join(f'"{n}"' for n in names) + " }"


# ---- the command


def test_output_into_a_file(tmp_path, definitions):
    target = tmp_path / "x.d.lua"
    assert panini("types", "--output", target).returncode == 0
    assert target.read_text() == definitions
    # Over what is there, and without anything beside it.
    target.write_text("old")
    assert panini("types", "--output", target).returncode == 0
    assert target.read_text() == definitions
    assert list(tmp_path.iterdir()) == [target]


def test_output_that_cannot_be_written(tmp_path):
    result = panini("types", "--output", tmp_path / "missing" / "x.lua")
    assert result.returncode == 1
    assert "cannot write" in result.stderr and "No such file" in result.stderr
