#!/usr/bin/env bash
# Runs golangci-lint over every module, in the one version that .golangci.yml
# is written for. The first run compiles it, which takes minutes.
set -euo pipefail
cd "$(dirname "$0")/.."
. tools/steps.sh

version=v2.15.0
cache=${XDG_CACHE_HOME:-$HOME/.cache}/myelin/golangci-lint-$version-$(go env GOVERSION)
linter=$cache/golangci-lint
if [ ! -x "$linter" ]; then
    echo "building golangci-lint $version"
    mkdir -p "$cache"
    # It goes to a name of its own first: two runs at once must not share a half.
    building=$(mktemp -d "$cache/building.XXXXXX")
    trap 'rm -rf "$building"' EXIT
    GOFLAGS=-buildvcs=false GOBIN=$building go install "github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$version" 2>"$building/log" || {
        cat "$building/log" >&2
        exit 1
    }
    mv "$building/golangci-lint" "$linter"
fi

config=$PWD/.golangci.yml
in_modules "$linter" run --config "$config" --allow-serial-runners "$@" ./...
