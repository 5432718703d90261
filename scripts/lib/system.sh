# What the machine itself must have: Debian packages and a Swift toolchain. Sourced after common.sh.
# shellcheck shell=bash

# The oldest toolchain the package manifest accepts.
PANINI_SWIFT_MINIMUM="6.2"

# as_root COMMAND...: runs it as root, through sudo when that is needed and there.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null 2>&1; then
        # Without a terminal nobody can type a password: then only a sudo that asks for none will do.
        if [ -t 0 ]; then sudo "$@"; else sudo -n "$@"; fi
    else
        return 77
    fi
}

# apt_install PACKAGE...: installs Debian packages. The package lists are fetched only when they prove stale.
apt_install() {
    note "installing ${*}"
    command -v apt-get >/dev/null 2>&1 || die "this system has no apt-get" \
        "install the equivalents of these Debian packages by hand: $*"
    if [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null 2>&1; then
        die "installing packages needs root" "as root: apt-get install $*"
    fi
    local log options=(-y -qq -o DPkg::Lock::Timeout=300 --no-install-recommends)
    log="$(mktemp)"
    if ! as_root env DEBIAN_FRONTEND=noninteractive apt-get install "${options[@]}" "$@" </dev/null >"$log" 2>&1; then
        note "fetching package lists"
        if ! as_root apt-get update -qq </dev/null >>"$log" 2>&1 ||
            ! as_root env DEBIAN_FRONTEND=noninteractive apt-get install "${options[@]}" "$@" </dev/null >>"$log" 2>&1; then
            tail -n 20 "$log" >&2
            rm -f "$log"
            die "could not install $*" "as root: apt-get update && apt-get install $*"
        fi
    fi
    rm -f "$log"
}

# require_swift: a toolchain that is missing or too old is one clear line, not a compiler's complaint.
require_swift() {
    command -v swift >/dev/null 2>&1 || die "no Swift toolchain found (swift is not on the PATH)" \
        "install Swift $PANINI_SWIFT_MINIMUM or later: https://www.swift.org/install/linux/"
    local line version
    line="$(swift --version 2>/dev/null || true)"
    version="$(printf '%s\n' "$line" | sed -n 's/.*Swift version \([0-9][0-9.]*\).*/\1/p' | sed -n 1p)"
    [ -n "$version" ] || die "cannot read the version of $(command -v swift)" "swift --version said: ${line:-nothing}"
    if [ "$(printf '%s\n%s\n' "$PANINI_SWIFT_MINIMUM" "$version" | sort -V | sed -n 1p)" != "$PANINI_SWIFT_MINIMUM" ]; then
        die "Swift $version is too old: $PANINI_SWIFT_MINIMUM or later is needed" "https://www.swift.org/install/linux/"
    fi
}

# require_build_packages: what the build links against. Asked by what it gives, not by package name, so that
# a system that has Lua from elsewhere needs no apt-get.
require_build_packages() {
    local missing=()
    command -v pkg-config >/dev/null 2>&1 || missing+=(pkg-config)
    if [ "${#missing[@]}" -gt 0 ] || ! pkg-config --exists lua5.4; then
        missing+=(liblua5.4-dev)
    fi
    if [ "${#missing[@]}" -gt 0 ] || ! pkg-config --exists zlib; then
        missing+=(zlib1g-dev)
    fi
    [ "${#missing[@]}" = 0 ] || apt_install "${missing[@]}"
    pkg-config --exists lua5.4 || die "pkg-config does not find lua5.4" "install liblua5.4-dev"
    pkg-config --exists zlib || die "pkg-config does not find zlib" "install zlib1g-dev"
}

# require_python: a python3 that can make virtual environments (Debian ships that part by itself).
require_python() {
    if ! command -v python3 >/dev/null 2>&1; then
        apt_install python3 python3-venv
    elif ! python3 -c 'import venv, ensurepip' >/dev/null 2>&1; then
        apt_install python3-venv
    fi
    python3 -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 9))' >/dev/null 2>&1 ||
        die "python3 3.9 or later with its venv module is needed for the tests" "found: $(python3 --version 2>&1)"
}

# require_shellcheck: the shell linter comes from Debian.
require_shellcheck() {
    command -v shellcheck >/dev/null 2>&1 || apt_install shellcheck
}

# require_chromium: the tests look at the examples' pages in a browser without a window.
require_chromium() {
    command -v chromium >/dev/null 2>&1 || command -v chromium-browser >/dev/null 2>&1 ||
        command -v google-chrome >/dev/null 2>&1 || apt_install chromium
}

# require_shells: the completion scripts are checked by the shells that read them, and the unit by systemd.
require_shells() {
    local missing=()
    command -v zsh >/dev/null 2>&1 || missing+=(zsh)
    command -v fish >/dev/null 2>&1 || missing+=(fish)
    command -v systemd-analyze >/dev/null 2>&1 || missing+=(systemd)
    [ "${#missing[@]}" = 0 ] || apt_install "${missing[@]}"
}

# require_openssl: the tests make their certificates with it.
require_openssl() {
    command -v openssl >/dev/null 2>&1 || apt_install openssl
}

# require_sqlite: the example of an embedding program keeps its data in SQLite.
require_sqlite() {
    pkg-config --exists sqlite3 || apt_install libsqlite3-dev
}

# require_lua_modules: the tests load modules in C into trusted scripts, Debian's.
require_lua_modules() {
    local package missing=()
    for package in lua-cjson lua-lpeg lua-filesystem lua-sql-sqlite3 lua-system lua-term; do
        [[ "$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null)" == *' installed' ]] || missing+=("$package")
    done
    [ "${#missing[@]}" = 0 ] || apt_install "${missing[@]}"
}
