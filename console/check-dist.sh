#!/bin/sh
# Rebuilds console/web in a temporary directory and fails unless the result is console/dist, byte for byte.
# Needs Node 20 or newer with npm, and npm's registry for the packages that package-lock.json pins.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM

mkdir "$work/web"
(cd "$here/web" && tar -cf - --exclude=./node_modules --exclude=./.compiled .) | (cd "$work/web" && tar -xf -)

cd "$work/web"
npm ci --no-fund --no-audit --loglevel=error
npm test
CONSOLE_OUT="$work/dist" npm run build

if ! diff -r "$here/dist" "$work/dist" >"$work/diff"; then
	head -c 2000 "$work/diff"
	echo "console/dist is not what console/web builds to: run 'npm ci && npm run build' in console/web and commit dist." >&2
	exit 1
fi
echo "console/dist is up to date"
