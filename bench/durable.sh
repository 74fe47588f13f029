#!/usr/bin/env bash
# Measures what keeping costs, without a server around it: durable publishes
# beside a bare loop of append and group fsync on the same disk, in turns;
# recovery of 100 publications of one of 100,000 channels after a restart; and
# the memory that each of a million channels takes, at the engines alone and
# through the hub. Prints medians and spreads and keeps them in bench/results.
#
#   bench/durable.sh                    all of it, about 8 minutes
#   ROUNDS=1 WHAT=durable bench/durable.sh
#
# The figures of this machine mean little elsewhere, and little when something
# else runs on it: the load is printed with them.
set -euo pipefail
cd "$(dirname "$0")/.."

ROUNDS=${ROUNDS:-5}                         # runs of what is measured in time
WHAT=${WHAT:-durable recovery footprint}
LIMIT=${LIMIT:-300}                         # seconds one measurement may take
RESULTS=${RESULTS:-bench/results}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

echo "building" >&2
go test -c -o "$work/disk" ./engine/disk
go test -c -o "$work/memory" ./engine/memory

# run BINARY BENCHMARK: one run of it, in $work/out, with the load before it.
run() {
	echo "load $(cut -d' ' -f1 /proc/loadavg): $2 of $1" >&2
	cut -d' ' -f1 /proc/loadavg >>"$work/load"
	(cd "$work" && timeout "$LIMIT" "./$1" -test.run '^$' -test.bench "$2" -test.benchtime 1x) >"$work/last" ||
		{ cat "$work/last" >&2; return 1; }
	sed -n "s|^Benchmark|$1/|p" "$work/last" >>"$work/out"
}

for round in $(seq "$ROUNDS"); do
	echo "round $round of $ROUNDS" >&2
	for what in $WHAT; do
		case $what in
		durable) run disk '^BenchmarkDurable$/^(1|64|512)-publishers-(1|64)-channels$' ;;
		recovery) run disk '^BenchmarkRecovery$' ;;
		# Memory is the same each time.
		footprint) [ "$round" -gt 1 ] || { run memory '^BenchmarkFootprint$'; run disk '^BenchmarkFootprint$'; } ;;
		*) echo "WHAT is of durable, recovery and footprint, not $what" >&2; exit 2 ;;
		esac
	done
done

mkdir -p "$RESULTS"
name=$RESULTS/durable-$(date -u +%Y%m%d-%H%M%S).txt
{
	echo "$(uname -sr), $(nproc) CPUs, $(go version | cut -d' ' -f3), load before each run $(sort -n "$work/load" | sed -n '1p;$p' | paste -sd- | sed 's/-/ to /')"
	echo "median (spread: largest less smallest, of the median)"
	awk '
		{
			sub(/-[0-9]+$/, "", $1)
			for (i = 3; i < NF; i += 2) {
				if ($(i + 1) == "ns/op") continue
				key = $1 " " $(i + 1)
				if (!(key in n)) order[++keys] = key
				all[key, ++n[key]] = $i
			}
		}
		END {
			for (k = 1; k <= keys; k++) {
				key = order[k]
				m = n[key]
				for (i = 2; i <= m; i++) {
					v = all[key, i] + 0
					for (j = i - 1; j > 0 && all[key, j] + 0 > v; j--) all[key, j + 1] = all[key, j]
					all[key, j + 1] = v
				}
				mid = all[key, int((m + 1) / 2)] + 0
				split(key, name, " ")
				printf "%-44s %14.6g %-12s", name[1], mid, name[2]
				if (m > 1 && mid > 0) printf " (%.0f%% of %d runs)", 100 * (all[key, m] - all[key, 1]) / mid, m
				print ""
			}
		}' "$work/out"
} | tee "$name"
echo "kept in $name" >&2
