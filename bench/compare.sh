#!/usr/bin/env bash
# Measures myelin and the best Go peer side by side: for each round, idle and
# fan-out of both, each against a freshly started server, and the floor. Prints
# medians, spreads and ratios and keeps them in bench/results.
#
#   bench/compare.sh                    all of it, about 8 minutes
#   IDLE_CONNECTIONS=3000 ROUNDS=1 bench/compare.sh
#
# The figures of this machine mean little elsewhere, and little when something
# else runs on it: the load is printed with them.
set -euo pipefail
cd "$(dirname "$0")/.."

ROUNDS=${ROUNDS:-3}                           # runs of each measurement
IDLE_CONNECTIONS=${IDLE_CONNECTIONS:-10000}   # at most 18000
IDLE_CHANNELS=${IDLE_CHANNELS:-1}             # spread over that many channels
IDLE_DURATION=${IDLE_DURATION:-30s}
FANOUT_CONNECTIONS=${FANOUT_CONNECTIONS:-500}
FANOUT_PUBLICATIONS=${FANOUT_PUBLICATIONS:-2000}
OUTSTANDING=${OUTSTANDING:-8}
LIMIT=${LIMIT:-300}                           # seconds one measurement may take
PORT=${PORT:-18000}                           # and the next one
RESULTS=${RESULTS:-bench/results}
# The peer keeps as much history as a channel of ours does by default. Its
# options for less memory per connection: PEER_FLAGS='-history 100 -lean'.
PEER_FLAGS=${PEER_FLAGS:--history 100}
# The publisher is one connection and sends more than a client may by default.
limits='--set limits.commands_per_second=1000000 --set limits.command_burst=1000000'
MYELIN_FLAGS=${MYELIN_FLAGS:---dev --set listen=127.0.0.1:$PORT --set admin.listen=127.0.0.1:$((PORT + 1)) $limits}
URL=ws://127.0.0.1:$PORT/connection/websocket

work=$(mktemp -d)
server=
stop() {
	[ -n "$server" ] || return 0
	kill "$server" 2>/dev/null || true
	for _ in $(seq 100); do
		kill -0 "$server" 2>/dev/null || break
		sleep 0.1
	done
	kill -9 "$server" 2>/dev/null || true
	wait "$server" 2>/dev/null || true
	server=
}
trap 'stop; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

echo "building" >&2
go build -o "$work/ratio" ./bench/ratio
(cd bench/peer && go build -o "$work/peer" .)
MYELIN=${MYELIN:-}
if [ -z "$MYELIN" ]; then
	MYELIN=$work/myelin
	go build -o "$MYELIN" ./cmd/myelin
fi
BENCH=${BENCH:-$MYELIN bench} # what is measured is not what measures, if so wished

# start SUBJECT: leaves the process in $server, listening.
start() {
	# The flags are lists of words.
	# shellcheck disable=SC2086
	case $1 in
	myelin) "$MYELIN" serve $MYELIN_FLAGS >"$work/$1.log" 2>&1 & ;;
	peer) "$work/peer" -addr "127.0.0.1:$PORT" $PEER_FLAGS >"$work/$1.log" 2>&1 & ;;
	esac
	server=$!
	for _ in $(seq 100); do
		if (exec 3<>"/dev/tcp/127.0.0.1/$PORT") 2>/dev/null; then
			sleep 0.5 # what a start leaves to do
			return 0
		fi
		kill -0 "$server" 2>/dev/null || break
		sleep 0.1
	done
	echo "$1 does not listen on port $PORT:" >&2
	tail -n 20 "$work/$1.log" >&2
	return 1
}

# measure SUBJECT ROUND SCENARIO FLAGS...: one run against a fresh server.
measure() {
	local subject=$1 round=$2 scenario=$3
	shift 3
	echo "round $round of $ROUNDS: $scenario of $subject" >&2
	local where=()
	if [ "$subject" != floor ]; then
		start "$subject"
		where=(--url "$URL" --pid "$server")
	fi
	# shellcheck disable=SC2086
	timeout "$LIMIT" $BENCH "$scenario" "${where[@]}" --repeat 1 --json "$@" >"$work/$subject.$scenario.$round.json" || {
		cat "$work/$subject.$scenario.$round.json" >&2
		return 1
	}
	stop
}

for round in $(seq "$ROUNDS"); do
	# Who goes first takes turns.
	subjects="myelin peer"
	[ $((round % 2)) = 1 ] || subjects="peer myelin"
	for subject in $subjects; do
		measure "$subject" "$round" idle --connections "$IDLE_CONNECTIONS" --channels "$IDLE_CHANNELS" --duration "$IDLE_DURATION"
	done
	for subject in $subjects; do
		measure "$subject" "$round" fanout --connections "$FANOUT_CONNECTIONS" \
			--publications "$FANOUT_PUBLICATIONS" --outstanding "$OUTSTANDING"
	done
	measure floor "$round" floor --connections "$FANOUT_CONNECTIONS" \
		--publications "$FANOUT_PUBLICATIONS" --outstanding "$OUTSTANDING"
done

mkdir -p "$RESULTS"
name=$RESULTS/compare-$(date -u +%Y%m%d-%H%M%S)
{
	echo "peer: centrifuge $(cd bench/peer && go list -m -f '{{.Version}}' github.com/centrifugal/centrifuge), flags: $PEER_FLAGS"
	"$work/ratio" -json "$name.json" "$work" myelin peer floor
} | tee "$name.txt"
echo "kept in $name.txt and $name.json" >&2
