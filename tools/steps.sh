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
    local output
    output=$("$@")
    [ -z "$output" ] || {
        printf '%s\n' "$output" >&2
        return 1
    }
}

# fail MESSAGE... says what is wrong.
fail() {
    printf '%s\n' "$*" >&2
    return 1
}
