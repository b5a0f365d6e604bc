# shellcheck shell=bash
# What every script here agrees on; sourced, never run.

FLEET_CACHE="${XDG_CACHE_HOME:-$HOME/.cache}/fleet"
# Outside the clone: a second clone, or a second run after `git clean`, is warm.
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$FLEET_CACHE/target}"
# Programs that setup installs for this project only.
FLEET_TOOLS="${FLEET_TOOLS:-$FLEET_CACHE/tools}"
# Where demo and soak keep their repositories and nodes.
FLEET_RUNS="${FLEET_RUNS:-${XDG_STATE_HOME:-$HOME/.local/state}/fleet-runs}"
# Where programs come from; bin/ of the profile that tests and demo share.
FLEET_BIN="${FLEET_BIN:-$CARGO_TARGET_DIR/debug}"
export PATH="$FLEET_TOOLS/bin:$PATH"

CARGO_DENY_VERSION=0.20.2
OPENAI_VERSION=3.54.0

say() { printf '%s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }
now() { date +%s.%N; }
# Seconds since $1, one decimal.
since() { awk -v a="$1" -v b="$(now)" 'BEGIN { printf "%.1f", b - a }'; }

# Cargo takes what another clone built into the same folder for its own, together with the paths in it. So whoever comes
# after another clone builds its own crates anew; the dependencies stay.
own_target() {
    local owner="$CARGO_TARGET_DIR/.clone"
    [ "$(cat "$owner" 2>/dev/null)" != "$PWD" ] || return 0
    mkdir -p "$CARGO_TARGET_DIR"
    find . -name '*.rs' -not -path './target/*' -exec touch {} +
    printf '%s\n' "$PWD" > "$owner"
}
