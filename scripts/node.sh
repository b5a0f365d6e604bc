# shellcheck shell=bash
# A node for a script's own use; sourced after env.sh. Kills only the process that it started.

NODE_PID=""
NODE_URL=""

# Starts fleetd on a free port with its state below $1 and waits until the model is loaded. Further arguments go to fleetd.
node_start() {
    local run="$1" waited=0
    shift
    touch "$run/fleetd.log" && cat "$run/fleetd.log" >>"$run/fleetd.log.before" && : >"$run/fleetd.log"
    "$FLEET_BIN/fleetd" --config "$PWD/cluster.toml" --state-dir "$run/state" --listen 127.0.0.1:0 --cluster-listen 127.0.0.1:0 "$@" >"$run/fleetd.out" 2>>"$run/fleetd.log" &
    NODE_PID=$!
    while :; do
        kill -0 "$NODE_PID" 2>/dev/null || { tail -n 20 "$run/fleetd.log" >&2; die "fleetd ended before it was ready; its log is $run/fleetd.log"; }
        NODE_URL=$(node_url "$run")
        if [ -n "$NODE_URL" ] && curl_ready; then break; fi
        [ "$waited" -lt 1200 ] || die "fleetd wasn't ready within 5 minutes; its log is $run/fleetd.log"
        [ -t 2 ] && printf '\rstarting the node and loading the model … %d s' $((waited / 4)) >&2
        sleep 0.25
        waited=$((waited + 1))
    done
    [ -t 2 ] && printf '\r\033[K' >&2
    say "node        $NODE_URL, ready"
}

# Where the node listens, as it says itself when it starts.
node_url() {
    grep -ohE 'http://127\.0\.0\.1:[0-9]+' "$1/fleetd.out" "$1/fleetd.log" 2>/dev/null | head -n 1 || true
}

curl_ready() {
    python3 - "$NODE_URL/readyz" <<'PY'
import sys, urllib.request
try:
    urllib.request.urlopen(sys.argv[1], timeout=2)
except OSError:
    sys.exit(1)
PY
}

node_stop() {
    [ -n "$NODE_PID" ] || return 0
    kill -TERM "$NODE_PID" 2>/dev/null || true
    wait "$NODE_PID" 2>/dev/null || true
    NODE_PID=""
}

# The story $1 with `seed: $2` in its front matter; as it is where $2 is empty.
story_with_seed() {
    if [ -z "$2" ]; then cat "$1"; else awk -v seed="$2" 'NR == 1 && /^---/ { print; print "seed: " seed; next } !/^seed:/' "$1"; fi
}
