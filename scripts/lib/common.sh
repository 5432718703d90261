# Shared by every script here: where the repository is, how messages look, how a failure ends.
# Sourced, never run. Needs bash 4 or later.
# shellcheck shell=bash disable=SC2034 # used by those who source it

# The repository, wherever the script was called from.
PANINI_ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)"
export PANINI_ROOT

# Everything these scripts install for themselves lies here, untracked.
PANINI_TOOLS="$PANINI_ROOT/.tools"

if [ -t 2 ] && [ -z "${NO_COLOR:-}" ]; then
    bold=$'\033[1m' red=$'\033[31m' plain=$'\033[0m'
else
    bold='' red='' plain=''
fi

# note TEXT: one line of progress. On standard error, so that standard output stays the program's own.
note() {
    printf '%s\n' "$*" >&2
}

# die TEXT [HINT...]: one line that says what is wrong, one per hint, and the end.
die() {
    printf '%serror:%s %s\n' "$red" "$plain" "$1" >&2
    shift
    local hint
    for hint in "$@"; do
        printf '       %s\n' "$hint" >&2
    done
    exit 1
}

# usage_error TEXT: wrong use of a script ends with 2, as everywhere in this project.
usage_error() {
    printf '%serror:%s %s\n' "$red" "$plain" "$1" >&2
    printf '       see: %s --help\n' "$0" >&2
    exit 2
}

# script_help FILE: prints the comment block that starts at line 2 of a script; that is its help text.
script_help() {
    sed -n '2,/^[^#]/ { /^#/ { s/^# \{0,1\}//; p; }; }' "$1"
}
