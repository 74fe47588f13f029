#!/usr/bin/env bash
# Runs every test of the project, or the steps that are named:
#
#   tools/test.sh [unit] [race] [e2e] [js] [dist]
#
# It needs Go and Node. What else a step needs (a C compiler for the race
# detector, Chromium for the page, packages from npm) it fetches, through
# apt-get where it may become root.
set -euo pipefail
cd "$(dirname "$0")/.."
. tools/steps.sh

# The floors whose concurrency everything rests on; few heavy dependencies, so
# that building them with the race detector stays affordable.
raced=(channel internal protocol auth observe filter roster socket hub conversation consumer hook engine door)

# must_have DIR... fails while a part of the project is missing: a step that
# runs nothing must not look like one that passed.
must_have() {
    local dir
    for dir in "$@"; do
        [ -d "$dir" ] || fail "there is no directory $dir, so this step has nothing to test"
    done
}

# version_at_least WANT HAVE
version_at_least() {
    [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]
}

need_go() {
    command -v go >/dev/null || fail "Go is missing: install Go 1.26 or newer (https://go.dev/dl)"
    local have
    have=$(go env GOVERSION)
    version_at_least 1.26 "${have#go}" || fail "Go 1.26 or newer is needed, this is $have"
}

need_node() {
    command -v npm >/dev/null || fail "Node is missing: install Node 20 or newer with npm"
    local have
    have=$(node --version)
    version_at_least 20 "${have#v}" || fail "Node 20 or newer is needed, this is $have"
}

# apt_get PACKAGE... installs Debian packages, as root or through sudo.
apt_get() {
    local root=()
    command -v apt-get >/dev/null || fail "please install: $*"
    if [ "$(id -u)" -ne 0 ]; then
        sudo -n true 2>/dev/null || fail "please install as root: apt-get install $*"
        root=(sudo -n)
    fi
    echo "installing $*"
    quietly "${root[@]}" apt-get update
    quietly "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"
}

need_compiler() {
    command -v "${CC:-gcc}" >/dev/null || apt_get gcc libc6-dev
}

# find_chromium prints the path of a browser.
find_chromium() {
    local name
    for name in "${CHROMIUM:-}" chromium chromium-browser google-chrome; do
        [ -n "$name" ] && command -v "$name" && return 0
    done
    return 1
}

unit() {
    need_go
    go test ./...
}

race() {
    need_go
    need_compiler
    must_have "${raced[@]}"
    local packages=("${raced[@]/#/./}")
    CGO_ENABLED=1 go test -race "${packages[@]/%//...}"
}

e2e() {
    need_go
    must_have e2e
    cd e2e
    go test -count=1 ./...
}

# modules fetches what a package-lock.json names, unless it is there already.
modules() {
    local sum
    sum=$(sha256sum <package-lock.json)
    if [ "$(cat node_modules/.fetched 2>/dev/null)" != "$sum" ]; then
        quietly npm ci --no-fund --no-audit
        printf '%s\n' "$sum" >node_modules/.fetched
    fi
}

js() {
    need_go
    need_node
    must_have e2e/js cmd/myelin
    # Without a font its screenshots have no text.
    find_chromium >/dev/null || apt_get chromium fonts-dejavu-core
    CHROMIUM=$(find_chromium)
    export CHROMIUM
    local work
    work=$(mktemp -d)
    # Expanded now: the trap runs after the function, where work is unknown.
    # shellcheck disable=SC2064
    trap "rm -rf '$work'" EXIT
    go build -o "$work/myelin" ./cmd/myelin
    cd e2e/js
    modules
    MYELIN_BIN=$work/myelin npm test --silent
}

dist() {
    need_node
    must_have console/web console/dist
    quietly sh console/check-dist.sh
}

all=(unit race e2e js dist)
[ $# -gt 0 ] || set -- "${all[@]}"
for name in "$@"; do
    case " ${all[*]} " in
    *" $name "*) ;;
    *)
        fail "there is no step $name, the steps are: ${all[*]}" || exit 2
        ;;
    esac
done
for name in "$@"; do
    step "$name" "$name"
done
echo "all tests passed in $SECONDS s"
