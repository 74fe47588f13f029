#!/bin/sh
# Measures what an alarm takes on a link of 2 Mbit/s that is full of bulk, with
# lanes and without. It makes two network namespaces and takes them down again;
# it needs root, iproute2 with tbf, node, and the packages of e2e/js.
#
#   bench/lanes.sh path/to/myelin [seconds [transport...]]
#
# Transports: websocket, sse, http_stream; all of them unless some are named.
set -eu
bin=$(realpath "${1:?the myelin binary}")
seconds=${2:-15}
shift "$(($# < 2 ? $# : 2))"
[ $# -gt 0 ] || set -- websocket sse http_stream
here=$(cd "$(dirname "$0")" && pwd)
dir=$(mktemp -d)
a=lanes-a-$$ b=lanes-b-$$
finish() {
	[ -z "${server:-}" ] || kill "$server" 2>/dev/null || true
	ip netns del "$a" 2>/dev/null || true
	ip netns del "$b" 2>/dev/null || true
	rm -rf "$dir"
}
trap finish EXIT INT TERM
ip netns add "$a"
ip netns add "$b"
ip link add va netns "$a" type veth peer name vb netns "$b"
for side in a:1 b:2; do
	n=${side%:*}
	eval ns=\$$n
	ip -n "$ns" addr add "10.250.0.${side#*:}/24" dev "v$n"
	ip -n "$ns" link set "v$n" up
	ip -n "$ns" link set lo up
done
ip netns exec "$a" tc qdisc add dev va root tbf rate 2mbit burst 8k latency 400ms
# measure without|with TRANSPORT
measure() {
	way=$1
	lane_alarm=ordinary lane_bulk=ordinary
	[ "$way" = without ] || { lane_alarm=alarm lane_bulk=bulk; }
	cat >"$dir/$way.yaml" <<YAML
listen: 0.0.0.0:8000
admin: {listen: ""}
auth: {anonymous: true, allowed_origins: ["*"]}
drain: {grace: 0}
namespaces:
  alarm: {lane: $lane_alarm, subscribe: [anonymous], publish: [anonymous]}
  bulk: {lane: $lane_bulk, slow: drop_oldest, subscribe: [anonymous], publish: [anonymous]}
YAML
	ip netns exec "$a" "$bin" serve --config "$dir/$way.yaml" >"$dir/log" 2>&1 &
	server=$!
	ip netns exec "$a" node "$here/lanes.mjs" publish 127.0.0.1 "$seconds" &
	publisher=$!
	printf '%-12s %-8s ' "$2" "$way"
	ip netns exec "$b" node "$here/lanes.mjs" subscribe 10.250.0.1 "$seconds" "$2"
	wait "$publisher"
	kill "$server"
	wait "$server" || true
	server=
}
for transport in "$@"; do
	measure without "$transport"
	measure with "$transport"
done
