# The steps of scripts/test: one function each, run in order, timed, the failing one named last.
# Sourced after common.sh, system.sh and tools.sh.
# shellcheck shell=bash disable=SC2154 # colours come from common.sh

# run_steps NAME[+NAME...]...: runs step_NAME for each, in order, and stops behind the first that fails or takes longer than
# PANINI_STEP_LIMIT seconds (2400). Names that are joined by a plus run beside each other. At the end it prints what each step
# took, and the slowest tests.
run_steps() {
    local group all=$SECONDS
    mkdir -p "$PANINI_TOOLS"
    export PANINI_TEST_TIMES="$PANINI_TOOLS/test-times"
    step_times="$PANINI_TOOLS/step-times"
    rm -f "$PANINI_TEST_TIMES" "$step_times"
    failures=()
    for group in "$@"; do
        # shellcheck disable=SC2086 # words are wanted
        run_beside ${group//+/ }
        [ "${#failures[@]}" = 0 ] || break
    done
    print_times "$step_times"
    if [ "${#failures[@]}" != 0 ]; then
        printf '\n' >&2
        printf '%s\n' "${failures[@]}" >&2
        exit 1
    fi
    printf '\n%sall steps passed%s in %d s: %s\n' "$bold" "$plain" $((SECONDS - all)) "${*//+/ }" >&2
}

# run_beside NAME...: starts these steps and waits for all of them. The first writes where this script does, and gives way to the
# others where they want the processor: it is the one that takes long. (SwiftPM sets the priority of its threads itself where it may,
# as root.) What another says is one block, behind the first's.
run_beside() {
    local number name other folder beside status seconds began=$SECONDS
    folder="$(mktemp -d)"
    groups=()
    trap 'end_groups; rm -rf "$folder"; exit 130' INT
    trap 'end_groups; rm -rf "$folder"; exit 143' TERM
    printf '\n%s==> %s%s%s\n' "$bold" "$1" "$plain" "${2:+ (beside it: ${*:2})}" >&2
    number=0
    for name in "$@"; do
        start_step "$name" "$folder/$number" $((number == 0 && $# > 1)) $((number > 0))
        number=$((number + 1))
    done
    number=0
    for name in "$@"; do
        # The step, and the watch over it: see start_step.
        wait "${groups[2 * number]}" 2>/dev/null || true
        kill -- "-${groups[2 * number + 1]}" 2>/dev/null || true
        wait "${groups[2 * number + 1]}" 2>/dev/null || true
        if [ "$number" != 0 ]; then
            printf '\n%s==> %s%s (ran beside %s)\n' "$bold" "$name" "$plain" "$1" >&2
            cat "$folder/$number.said"
        fi
        # One that was ended has left no word.
        status=143 seconds=$((SECONDS - began))
        if [ -s "$folder/$number" ]; then read -r status seconds <"$folder/$number"; fi
        beside=""
        for other in "$@"; do
            [ "$other" = "$name" ] || beside="$beside${beside:+, }$other"
        done
        printf '%6s s  %s%s\n' "$seconds" "$name" "${beside:+  (beside $beside)}" >>"$step_times"
        if [ "$status" != 0 ]; then
            failures+=("${red}failed:${plain} step $name, after $seconds s (exit code $status)")
        fi
        number=$((number + 1))
    done
    trap - INT TERM
    rm -rf "$folder"
}

# start_step NAME FILE NICE APART: starts a step in a process group of its own, and a watch in another, which ends the step when it
# takes too long and names what runs at that time. Adds both to `groups`. The step leaves its exit code and its seconds in FILE, and
# what it says in FILE.said when APART is 1.
start_step() {
    local limit="${PANINI_STEP_LIMIT:-2400}" group
    set -m
    (
        set +m
        if [ "$4" = 1 ]; then exec >"$2.said" 2>&1; fi
        if [ "$3" = 1 ]; then renice -n 10 -p "$BASHPID" >/dev/null; fi
        began=$SECONDS
        # No condition around it: `set -e` does not act inside a function whose result is tested.
        set +e
        (set -e; "step_${1//-/_}")
        printf '%d %d\n' $? $((SECONDS - began)) >"$2"
    ) &
    group=$!
    (
        set +m
        sleep "$limit" &
        # shellcheck disable=SC2064 # the number as it is now
        trap "kill $! 2>/dev/null" EXIT
        wait $!
        printf '\n%stoo long:%s the step has not ended after %d s: %s; what runs:\n' "$red" "$plain" "$limit" "$1" >&2
        ps -o pid=,etime=,args= -p "$(pgrep -d, -g "$group")" | cut -c1-200 >&2
        kill -- "-$group" 2>/dev/null
        sleep 10
        kill -9 -- "-$group" 2>/dev/null
    ) &
    set +m
    groups+=("$group" $!)
}

# end_groups: ends the process groups of what runs. They are interrupted first: at SIGTERM SwiftPM leaves its compilers running.
# Who does not heed either within five seconds is killed.
end_groups() {
    local group left number
    for number in INT TERM; do
        for group in "${groups[@]}"; do kill -s "$number" -- "-$group" 2>/dev/null || true; done
        for _ in {1..50}; do
            left=0
            for group in "${groups[@]}"; do
                if kill -0 -- "-$group" 2>/dev/null; then left=1; fi
            done
            [ "$left" = 1 ] || return 0
            sleep 0.1
        done
    done
    for group in "${groups[@]}"; do kill -9 -- "-$group" 2>/dev/null || true; done
}

# print_times FILE: the steps with their times, and the ten tests that took longest.
print_times() {
    printf '\n%stimes%s\n' "$bold" "$plain" >&2
    cat "$1" >&2
    [ -s "$PANINI_TEST_TIMES" ] || return 0
    printf '%sslowest tests%s\n' "$bold" "$plain" >&2
    sort -rn "$PANINI_TEST_TIMES" | awk -F '\t' 'NR <= 10 { printf "%8.1f s  %s\n", $1, $2 }' >&2
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

# in_check COMMAND...: runs a command of Swift with the manifest as the check has it: warnings of our own targets are errors, and the
# examples, the snippets and the fault suite are targets. One debug build serves all steps that use this: all of them have to say
# no_index as well, or it is made anew.
in_check() {
    PANINI_WARNINGS_AS_ERRORS=1 PANINI_EXAMPLES=1 PANINI_FAULTS=1 "$@"
}

# An index for editors takes a quarter of the time of a debug build, and nobody reads it here. SwiftPM would look for tests of
# XCTest with it, and fail without it, where no Tests/XCTMain.swift says how the tests begin.
no_index=--disable-index-store

step_build() {
    in_check swift build "$no_index" --build-tests
}

# swift_tests ARGUMENT...: `swift test`, which is ended when a test takes too long; the lines with which each test announces
# itself are left out. With a Tests/XCTMain.swift SwiftPM runs the tests of Swift Testing only where it is told to.
swift_tests() {
    local limit="${PANINI_TEST_LIMIT:-600}"
    in_check "$PANINI_ROOT/scripts/lib/watch-tests" --limit "$limit" swift test \
        "$no_index" --disable-xctest --enable-swift-testing --no-parallel "$@"
}

# built_tests ARGUMENT...: the tests that step_build has built. Their program is run as `swift test` would run it: SwiftPM itself
# would wait for the end of a build that goes on beside it.
built_tests() {
    local program="$PANINI_ROOT/.build/debug/paniniPackageTests.xctest" server
    [ -x "$program" ] || die "no tests at .build/debug" "run scripts/test --only build first"
    server="$(nats_server_path)"
    PANINI_NATS_SERVER="$server" "$PANINI_ROOT/scripts/lib/watch-tests" --limit "${PANINI_TEST_LIMIT:-600}" \
        "$program" --testing-library swift-testing --no-parallel "$@"
}

step_unit() {
    built_tests --skip '^NATSFaultTests\.'
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

# test_processes: how many files of tests run at once: they wait more than they compute.
test_processes() {
    echo "${PANINI_TEST_PROCESSES:-$((2 * $(nproc) + 1))}"
}

# What measures a neighbour's waits has the machine to itself.
PANINI_ALONE=(test_hostile.py test_siege.py test_turns.py)

step_integration() {
    local folder="$PANINI_ROOT/Tests/Integration" name others=() alone=()
    # They have steps of their own.
    for name in test_examples.py test_docs.py test_faults.py "${PANINI_ALONE[@]}"; do others+=(--ignore "$folder/$name"); done
    for name in "${PANINI_ALONE[@]}"; do alone+=("$folder/$name"); done
    run_pytest --numprocesses "$(test_processes)" --dist loadfile "$folder" "${others[@]}"
    run_pytest "${alone[@]}"
}

step_examples() {
    run_pytest "$PANINI_ROOT/Tests/Integration/test_examples.py"
}

step_docs() {
    run_pytest "$PANINI_ROOT/Tests/Integration/test_docs.py"
}

# The DocC catalogs, without a warning.
step_docc() {
    PANINI_DOCC=1 in_check swift package "$no_index" --disable-sandbox \
        generate-documentation --target LuaVM --target NATS --target Panini --warnings-as-errors >/dev/null
}

# The example of a program that embeds the host: a package of its own, as a user has it. It is built in the build folder of the
# repository, where all that it depends upon but its database is compiled already.
step_embedding() {
    require_sqlite
    swift_tests --package-path "$PANINI_ROOT/examples/embedding" --scratch-path "$PANINI_ROOT/.build" \
        | grep -vE '^\[[0-9]+/[0-9]+\] '
}

step_fuzz() {
    "$PANINI_ROOT/scripts/fuzz" ${PANINI_FUZZ_SECONDS:+"$PANINI_FUZZ_SECONDS"}
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

# The long tests: those of the client and services from outside, with what the step build has compiled.
step_faults() {
    local folder
    folder="$(mktemp -d)"
    # shellcheck disable=SC2064 # the name as it is now
    trap "sweep_servers '$folder'" EXIT
    TMPDIR="$folder" built_tests --filter '^NATSFaultTests\.'
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
    # The host gives each of its threads a stack for signals, for its crash report; the sanitizer would take that for its own.
    export ASAN_OPTIONS="${ASAN_OPTIONS:-detect_leaks=0:abort_on_error=1:use_sigaltstack=0}"
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
