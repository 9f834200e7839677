# What runs the code blocks of the pages: functions for the script that tests/live/test_every_block.py writes.
#
# It runs in the folder of a checkout without data.  $OUT is a folder for what is said; a failure is one line in
# $OUT/failures.  The standing server is that of `make run`, with its own settings and ports; it stays from page to
# page.  A section whose commands start a server, or want the data for themselves, has it stopped until its end.

set -muE -o pipefail

HTTP=http://127.0.0.1:3000
export PYTHONUNBUFFERED=1
: >"$OUT/statuses"
PATIENCE=60  # seconds for a server to start or to end
# What the pages say of these requests.
EXPECTED='^HTTP (409 POST .*/auth/register|403 GET .*/api/v1/audit\?.*)$'
_block=start

failed() {
    case $2 in
        *check-config*) [ "$1" = 1 ] && return ;;                    # some of it is risky
        *'multiproto user create'*) [ "$ROUND" = 2 ] && return ;;    # there is that account already
    esac
    echo "$_block: $2: status $1; $(tail -n 5 "$OUT/$_block.err" 2>/dev/null)" >>"$OUT/failures"
    clean_up
    exit 1
}

# As on the path, and its answer must not be an error.
curl() { command curl --write-out '%{stderr}HTTP %{http_code} %{method} %{url_effective}\n' "$@" 2>>"$OUT/statuses"; }

block() {  # NAME: what follows is this block
    checked
    _block=$1
    exec >"$OUT/$_block.out" 2>"$OUT/$_block.err" <"$OUT/password"
}

checked() {
    wrong=$(grep -E '^HTTP (000|[45])' "$OUT/statuses" | grep -Ev "$EXPECTED" || :)
    : >"$OUT/statuses"
    [ -z "$wrong" ] || failed 1 "$wrong"
    wrong=$(grep -h '"errors"' "$OUT/$_block.out" 2>/dev/null | grep -v '"CONFLICT"' || :)  # of GraphQL, whose status is 200
    [ -z "$wrong" ] || failed 1 "$wrong"
}

lasting() {  # PID FILE: it goes on until Ctrl-C, or ends well; somebody sends until it has said something into FILE
    _lasting="${_lasting-} $1"
    for ((tries = 1; tries < PATIENCE * 20; tries++)); do
        [ ! -s "$2" ] || return 0
        if ! alive "$1"; then
            wait "$1" || failed $? "$(cat "$2")"
            return 0
        fi
        sleep 0.05
        [ $((tries % 10)) != 0 ] || somebody_sends
    done
    failed 1 'it says nothing'
}

somebody_sends() {
    token=${TOKEN-${T-}}  # as the page calls it
    [ -n "$token" ] || return 0
    for post in 'topics/plant.7 {"data":21}' 'topics/room.1 {"data":21}' 'messages {"content":"hi","channelId":"c"}'; do
        command curl -sf -o /dev/null "$HTTP/api/v1/${post%% *}" -H "Authorization: Bearer $token" \
            -H 'Content-Type: application/json' -d "${post#* }"
    done
}

alive() { grep -q '^State:.[^Z]' "/proc/$1/status" 2>/dev/null; }

start_standing() {
    make run >>"$OUT/server.log" 2>&1 </dev/null &
    echo $! >"$OUT/standing"
    ready $!
}

stop_standing() {
    [ -n "${_other-}" ] || stop "$(cat "$OUT/standing")"
    _other=${_other:-none}
}

serving() {  # PID: a server of the page's own; sets PID to that of the server itself
    _other=$1
    ready "$1"
    PID=$1
    while child=$(cat "/proc/$PID/task/$PID/children") && [ -n "$child" ]; do PID=${child%% *}; done
}

section_ends() {
    [ -n "${_other-}" ] || return 0
    [ "$_other" = none ] || stop "$_other"
    _other=
    start_standing
}

page() {
    : >"$OUT/statuses"
    set -m  # a subshell has to be told again
    trap 'failed $? "$BASH_COMMAND"' ERR
}

ready() {
    for ((tries = 0; tries < PATIENCE * 20; tries++)); do
        command curl -sf -o /dev/null $HTTP/health/ready && return
        command curl -sfk -o /dev/null https://127.0.0.1:3000/health/ready && return
        alive "$1" || failed 1 'the server ended'
        sleep 0.05
    done
    failed 1 'the server is not ready'
} 2>/dev/null

stop() {
    kill -TERM -- "-$1"
    for ((tries = 0; tries < PATIENCE * 20; tries++)); do
        kill -0 -- "-$1" 2>/dev/null || return 0
        sleep 0.05
    done
    failed 1 'the server does not end'
}

page_ends() {
    block "$1:end"
    wrong=$(grep -HE "^44[0-9][0-9] |type: 'error'|auth_error|\"errors\"|Traceback|Error" "$OUT/$1:"*.lasting 2>/dev/null || :)
    [ -z "$wrong" ] || failed 1 "$wrong"
    for pid in ${_lasting-}; do
        alive "$pid" || wait "$pid" || failed $? "what went on until then"
    done
    clean_up
}

clean_up() {
    trap - ERR
    section_ends
    for pid in $(jobs -p); do
        [ "$pid" = "$(cat "$OUT/standing")" ] || kill -KILL -- "-$pid" 2>/dev/null || :
    done
}
