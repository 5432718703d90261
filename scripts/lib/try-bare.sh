#!/usr/bin/env bash
# Usage: scripts/lib/try-bare.sh PROGRAM FOLDER
#
# Tries a program in a root file system of its own below FOLDER: Debian's packages of Lua's library, and of
# what that and the program need of C and C++, unpacked; no shell, no Swift, no certificates. A service that
# `panini dev` runs in there must answer a request, and end in order.
set -euo pipefail

# shellcheck source=scripts/lib/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

[ $# = 2 ] || usage_error "takes a program and a folder"
program="$1" folder="$2"
[ -x "$program" ] || die "no program: $program"
command -v dpkg-deb >/dev/null 2>&1 || die "dpkg-deb is needed to make a bare root file system"

root="$folder/root"
rm -rf "$folder"
mkdir -p "$folder/packages" "$root/srv"

# What the dynamic linker asks for, by the packages that have it, with all they depend on.
mapfile -t wanted < <(apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks \
    --no-replaces --no-enhances liblua5.4-0 libstdc++6 zlib1g | grep -E '^[a-z0-9]' | grep -vE '^(debconf|.*-dev$|libc-dev)' | sort -u)
[ "${#wanted[@]}" -gt 0 ] || die "apt-cache knows no liblua5.4-0" "as root: apt-get update"
(cd "$folder/packages" && apt-get download -qq "${wanted[@]}" 2>"$folder/log") ||
    die "cannot fetch ${wanted[*]}" "$(tail -n 1 "$folder/log")" "as root: apt-get update"
for package in "$folder/packages"/*.deb; do dpkg-deb --extract "$package" "$root"; done
note "a root file system with ${wanted[*]}"

cp "$program" "$root/panini"
cat >"$root/srv/hello.lua" <<'LUA'
local app = panini.app{ service_name = "hello" }
app.listen("hello", function(msg)
    return { message = "Hello, " .. msg.data.name .. "!" }
end)
LUA

# With /proc, as every machine and container has it: Swift's run time reads the program's arguments there. One process
# from the beginning to the end, so that its number is the program's.
mkdir -p "$root/proc"
enter=(unshare --mount --propagation private)
[ "$(id -u)" = 0 ] || enter+=(--map-root-user)
# shellcheck disable=SC2016 # for the shell that is started
enter+=(bash -c 'mount --rbind /proc "$0/proc" && exec chroot "$0" "$@"' "$root")

"${enter[@]}" /panini check /srv/hello.lua >"$folder/checked" || die "panini check fails in the bare root file system"
grep -q hello "$folder/checked" || die "panini check does not tell of the service in the bare root file system"

"${enter[@]}" /panini dev /srv/hello.lua >"$folder/said" 2>&1 &
service=$!
trap 'kill -9 "$service" 2>/dev/null || true' EXIT
for _ in $(seq 100); do
    if grep -q 'is ready' "$folder/said" || ! kill -0 "$service" 2>/dev/null; then break; fi
    sleep 0.1
done
address="$(sed -n 's|.*embedded broker at \(nats://[^ ,]*\).*|\1|p' "$folder/said" | sed -n 1p)"
if [ -z "$address" ] || ! grep -q 'is ready' "$folder/said"; then
    cat "$folder/said" >&2
    die "the service did not start in the bare root file system"
fi
answer="$("${enter[@]}" /panini request hello '{"name": "Ada"}' --server "$address")"
[ "$answer" = '{"message":"Hello, Ada!"}' ] || die "a wrong answer in the bare root file system: $answer"
kill -TERM "$service"
trap - EXIT
wait "$service" || die "the service ended with $? in the bare root file system"
note "it answers there, and stops in order"
