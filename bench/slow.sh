#!/bin/sh
# Measures whether 499 readers notice that one of 500 stops reading: the same
# load with and without, in turn, and what the one that stopped ends with. It
# needs node and the packages of e2e/js.
#
#   bench/slow.sh path/to/myelin [rounds]
set -eu
bin=$(realpath "${1:?the myelin binary}")
here=$(cd "$(dirname "$0")" && pwd)
dir=$(mktemp -d)
trap 'kill "$server" 2>/dev/null || true; rm -rf "$dir"' EXIT INT TERM
cat >"$dir/c.yaml" <<YAML
listen: 127.0.0.1:18733
admin: {listen: ""}
auth: {anonymous: true}
api: {insecure: true}
drain: {grace: 0}
client: {ping_interval: 5m, pong_timeout: 1m}
namespaces:
  prices: {slow: conflate, history: {size: 100}, subscribe: [anonymous]}
YAML
"$bin" serve --config "$dir/c.yaml" >"$dir/log" 2>&1 &
server=$!
node "$here/slow.mjs" "${2:-4}"
