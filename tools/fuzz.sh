#!/usr/bin/env bash
# Runs every fuzzer of the main module for a while: FUZZTIME each, 10 s unless
# told otherwise. With arguments, only the fuzzers whose names match one of them.
set -euo pipefail
cd "$(dirname "$0")/.."
. tools/steps.sh

matches() {
    [ $# -gt 1 ] || return 0
    local name=$1 pattern
    shift
    for pattern in "$@"; do
        [[ $name =~ $pattern ]] && return 0
    done
    return 1
}

count=0
for dir in $(grep -rlE --include='*_test.go' --exclude-dir=node_modules --exclude-dir=e2e '^func Fuzz' . | xargs -r -n 1 dirname | sort -u); do
    for name in $(go test -list '^Fuzz' "$dir" | grep '^Fuzz'); do
        matches "$name" "$@" || continue
        step "$dir $name" quietly go test -run '^$' -fuzz "^$name\$" -fuzztime "${FUZZTIME:-10s}" "$dir"
        count=$((count + 1))
    done
done
[ "$count" -gt 0 ] || { fail "no fuzzer matches" || exit 1; }
echo "$count fuzzers, $SECONDS s"
