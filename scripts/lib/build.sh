# Building with SwiftPM. Sourced after common.sh.
# shellcheck shell=bash

# swift_build ARGUMENT...: a build that is quiet when it goes well. At a terminal SwiftPM draws its own
# progress line; elsewhere its output is kept back and shown only when the build fails.
swift_build() {
    if [ -t 2 ]; then
        swift build --package-path "$PANINI_ROOT" "$@" </dev/null >&2
        return
    fi
    local log status=0
    log="$(mktemp)"
    swift build --package-path "$PANINI_ROOT" "$@" </dev/null >"$log" 2>&1 || status=$?
    if [ "$status" != 0 ]; then cat "$log" >&2; fi
    rm -f "$log"
    return "$status"
}
