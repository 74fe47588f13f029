#!/usr/bin/env bash
# Runs the Go benchmarks of every package that has some. With arguments, those
# whose names match the pattern: tools/bench.sh Schedule
set -euo pipefail
cd "$(dirname "$0")/.."

grep -rlE --include='*.go' --exclude-dir=node_modules --exclude-dir=e2e '^func Benchmark|\*testing\.B\b' . |
    xargs -r -n 1 dirname | sort -u |
    xargs -r go test -run '^$' -bench "${1:-.}" -benchmem
