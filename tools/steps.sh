# Steps that print their name and their seconds, for scripts to source.

# step NAME COMMAND... runs the command and ends the script if it fails.
step() {
    local name=$1 began=$SECONDS code
    shift
    printf -- '--- %s\n' "$name"
    # A subshell outside of any condition, so that -e holds inside functions.
    set +e
    (
        set -e
        "$@"
    )
    code=$?
    set -e
    if [ "$code" -ne 0 ]; then
        printf -- '--- %s: FAILED after %d s\n' "$name" $((SECONDS - began)) >&2
        exit "$code"
    fi
    printf -- '--- %s: ok, %d s\n' "$name" $((SECONDS - began))
}

# quietly COMMAND... shows the command's output only if it fails.
quietly() {
    local log code=0
    log=$(mktemp)
    "$@" >"$log" 2>&1 </dev/null || code=$?
    [ "$code" -eq 0 ] || cat "$log" >&2
    rm -f "$log"
    return "$code"
}

# silent COMMAND... fails if the command prints anything, and prints it.
silent() {
    local output code=0
    output=$("$@") || code=$?
    [ -z "$output" ] || printf '%s\n' "$output" >&2
    [ "$code" -eq 0 ] && [ -z "$output" ]
}

# fail MESSAGE... says what is wrong.
fail() {
    printf '%s\n' "$*" >&2
    return 1
}

# go_modules prints the directories of the modules that hold code of ours, the
# main one first. tools/go.mod only pins tools.
go_modules() {
    git ls-files --cached --others --exclude-standard -- go.mod '*/go.mod' |
        xargs -r -n 1 dirname | sort | grep -vx tools
}

# in_modules COMMAND... runs the command in each of them.
in_modules() {
    local module
    for module in $(go_modules); do
        (cd "$module" && "$@") || {
            echo "in module $module" >&2
            return 1
        }
    done
}
