# The steps of scripts/test: one function each, run in order, timed, the failing one named last.
# Sourced after common.sh, system.sh and tools.sh.
# shellcheck shell=bash disable=SC2154 # colours come from common.sh

# run_steps NAME...: runs step_NAME for each, with a header, and stops at the first that fails.
run_steps() {
    local name started all=$SECONDS status
    for name in "$@"; do
        printf '\n%s==> %s%s\n' "$bold" "$name" "$plain" >&2
        started=$SECONDS
        # A shell of its own and no condition around it: `set -e` does not act inside a function whose
        # result is tested.
        set +e
        (set -e; "step_${name//-/_}")
        status=$?
        set -e
        if [ "$status" != 0 ]; then
            printf '\n%sfailed:%s step %s, after %d s (exit code %d)\n' "$red" "$plain" "$name" $((SECONDS - started)) "$status" >&2
            exit 1
        fi
        printf '    %s: %d s\n' "$name" $((SECONDS - started)) >&2
    done
    printf '\n%sall steps passed%s in %d s: %s\n' "$bold" "$plain" $((SECONDS - all)) "$*" >&2
}

# has_suite NAME: whether one of the long suites exists in this version.
has_suite() {
    case "$1" in
        fuzz) [ -x "$PANINI_ROOT/scripts/fuzz" ] ;;
        bench) [ -x "$PANINI_ROOT/scripts/bench" ] ;;
        sanitize | faults | hostile) true ;;
        *) false ;;
    esac
}

step_tools() {
    require_openssl
    require_shells
    require_chromium
    require_lua_modules
    install_tools
    install_lua_libraries
}

step_format() {
    "$PANINI_ROOT/scripts/format" --check
}

step_imports() {
    "$PANINI_ROOT/scripts/lint-imports"
}

step_shell() {
    "$PANINI_ROOT/scripts/lint-shell"
}

step_texts() {
    "$PANINI_ROOT/scripts/lint-texts"
}

step_lua_calls() {
    "$PANINI_ROOT/scripts/lint-lua-calls"
}

# The manifest turns warnings of our own targets into errors when this is set; dependencies keep theirs.
step_build() {
    PANINI_WARNINGS_AS_ERRORS=1 PANINI_EXAMPLES=1 swift build --build-tests
}

# swift_tests ARGUMENT...: `swift test`, which is ended when a test takes too long; the line with which each test announces
# itself is left out.
swift_tests() {
    "$PANINI_ROOT/scripts/lib/watch-tests" --limit "${PANINI_TEST_LIMIT:-600}" swift test --disable-xctest --no-parallel "$@"
}

step_unit() {
    local server
    server="$(nats_server_path)"
    PANINI_WARNINGS_AS_ERRORS=1 PANINI_NATS_SERVER="$server" swift_tests --skip-build
}

step_release() {
    swift build -c release --product panini
}

# run_pytest ARGUMENT...: pytest with what the tests expect in the environment.
run_pytest() {
    local configuration=release selection=()
    if [ "${PANINI_TEST_FAST:-0}" = 1 ]; then
        configuration=debug
        selection=(-m "not slow")
    fi
    local program="$PANINI_ROOT/.build/$configuration/panini"
    [ -x "$program" ] || die "no program at .build/$configuration/panini" "run scripts/test without --only first"
    PANINI_BIN="$program" PANINI_NATS_SERVER="$(nats_server_path)" \
        "$PANINI_VENV/bin/python" -m pytest -c "$PANINI_ROOT/Tests/Integration/pytest.ini" \
        --rootdir "$PANINI_ROOT/Tests/Integration" "${selection[@]}" "$@" </dev/null
}

step_integration() {
    run_pytest "$PANINI_ROOT/Tests/Integration" \
        --ignore "$PANINI_ROOT/Tests/Integration/test_examples.py" \
        --ignore "$PANINI_ROOT/Tests/Integration/test_docs.py" \
        --ignore "$PANINI_ROOT/Tests/Integration/test_faults.py"
}

step_examples() {
    run_pytest "$PANINI_ROOT/Tests/Integration/test_examples.py"
}

step_docs() {
    run_pytest "$PANINI_ROOT/Tests/Integration/test_docs.py"
}

# The DocC catalogs, without a warning. The same settings as in step_build, so that nothing is compiled again.
step_docc() {
    local target
    for target in LuaVM NATS Panini; do
        PANINI_WARNINGS_AS_ERRORS=1 PANINI_EXAMPLES=1 PANINI_DOCC=1 swift package --disable-sandbox \
            generate-documentation --target "$target" --warnings-as-errors >/dev/null
    done
}

# The example of a program that embeds the host: a package of its own, as a user has it.
step_embedding() {
    require_sqlite
    # Beside the other build products, so that one cache keeps both.
    swift_tests --package-path "$PANINI_ROOT/examples/embedding" --scratch-path "$PANINI_ROOT/.build/embedding" \
        | grep -vE '^\[[0-9]+/[0-9]+\] '
}

step_fuzz() {
    "$PANINI_ROOT/scripts/fuzz"
}

# sweep_servers FOLDER: ends the servers whose pid files lie there, and removes it. Nothing is left to do unless the
# tests crashed.
sweep_servers() {
    local file pid
    for file in "$1"/*/server.pid; do
        [ -f "$file" ] || continue
        pid="$(cat "$file")"
        # The number may belong to somebody else by now.
        if grep -qsaF "$file" "/proc/$pid/cmdline"; then kill -9 "$pid" || true; fi
    done
    rm -rf "$1"
}

# The long tests: a target that only PANINI_FAULTS puts into the manifest, and services from outside.
step_faults() {
    local server folder
    server="$(nats_server_path)"
    export PANINI_WARNINGS_AS_ERRORS=1 PANINI_EXAMPLES=1 PANINI_FAULTS=1
    swift build --build-tests
    folder="$(mktemp -d)"
    # shellcheck disable=SC2064 # the name as it is now
    trap "sweep_servers '$folder'" EXIT
    TMPDIR="$folder" PANINI_NATS_SERVER="$server" swift_tests --skip-build --filter '^NATSFaultTests\.' | tee "$folder/said"
    # A filter that matches nothing passes as well.
    grep -qE 'Test run with [1-9][0-9]* tests? .*passed' "$folder/said" || die "the fault tests did not run"
    # With the program just built, whatever lies in .build/release.
    PANINI_TEST_FAST=1 run_pytest "$PANINI_ROOT/Tests/Integration/test_faults.py"
}

# hostile_tests ARGUMENT...: the scripts and the siege, all of its rows; a table that has lost rows fails.
hostile_tests() {
    PANINI_SIEGE=all "$@" "$PANINI_ROOT/Tests/Integration/test_hostile.py" "$PANINI_ROOT/Tests/Integration/test_siege.py"
}

# What attacks the host: in time and in bounds in release, and against a program with AddressSanitizer.
step_hostile() {
    step_release
    PANINI_STRICT_TIMES=1 PANINI_SIEGE_TABLE="$PANINI_ROOT/.build/siege.txt" hostile_tests run_pytest
    export ASAN_OPTIONS="${ASAN_OPTIONS:-detect_leaks=0:abort_on_error=1}"
    swift build --sanitize=address --scratch-path .build-asan --product panini
    export PANINI_BIN="$PANINI_ROOT/.build-asan/debug/panini" PANINI_SANITIZED=1 PANINI_TEST_PATIENCE=120
    PANINI_NATS_SERVER="$(nats_server_path)" PANINI_SIEGE_TABLE="$PANINI_ROOT/.build-asan/siege.txt" \
        hostile_tests "$PANINI_VENV/bin/python" -m pytest -c "$PANINI_ROOT/Tests/Integration/pytest.ini" \
        --rootdir "$PANINI_ROOT/Tests/Integration"
}

step_bench() {
    "$PANINI_ROOT/scripts/bench"
}

step_sanitize() {
    local kind
    for kind in address thread; do
        note "-- $kind"
        "$PANINI_ROOT/scripts/sanitize" "$kind"
    done
}
