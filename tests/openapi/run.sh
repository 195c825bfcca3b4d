#!/usr/bin/env bash
# Holds config/openapi.yaml against the running program, both planes, with schemathesis (PyPI).
#
#   tests/openapi/run.sh [PROGRAM]        PROGRAM: target/debug/credira-gateway
#
# Where schemathesis is missing the check is skipped, visibly; with CI=true it must be there.
# SCHEMATHESIS names another command than `schemathesis`. Everything stays on loopback and ends by itself.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
program=${1:-target/debug/credira-gateway}
schemathesis=${SCHEMATHESIS:-schemathesis}
if ! command -v "$schemathesis" >/dev/null; then
    if [ "${CI:-}" = true ]; then
        echo "schemathesis is needed: pip install schemathesis" >&2
        exit 1
    fi
    echo "SKIPPED: schemathesis is not here (pip install schemathesis)" >&2
    exit 0
fi

work=$(mktemp -d)
started=()
finish() {
    for id in "${started[@]}"; do kill "$id" 2>/dev/null || true; done
    rm -rf "$work"
}
trap finish EXIT

# Waits for a line of a file that matches, and prints what its parentheses held.
await() {
    for _ in $(seq 200); do
        found=$(sed -nE "s/$2/\1/p" "$1" | head -n 1)
        if [ -n "$found" ]; then
            echo "$found"
            return
        fi
        sleep 0.05
    done
    echo "waited in vain for $2 in:" >&2
    cat "$1" >&2
    return 1
}

gateway_token=gateway-token-of-the-contract-check-0123
admin_token=admin-token-of-the-contract-check-012345

"$program" mock-upstream --listen 127.0.0.1:0 --api-key contract-key >"$work/upstream" &
started+=($!)
upstream=$(await "$work/upstream" '^listening on (http:.*)$')
media_host=$(await "$work/upstream" '^media host on http:..(.*)$')

cat >"$work/gateway.toml" <<TOML
[listen]
address = "127.0.0.1:0"
[admin]
address = "127.0.0.1:0"
token = { value = "$admin_token" }
[upstream]
base_url = "$upstream"
[media]
hosts = ["$media_host"]
[[tenants]]
name = "billing"
tokens = [{ value = "$gateway_token" }]
upstream_key = { value = "contract-key" }
rate_limit = { per_second = 100000, burst = 100000 }
routes = ["call", "calls", "recording", "transcription"]
TOML
"$program" serve --config "$work/gateway.toml" 2>"$work/log" &
started+=($!)
data=$(await "$work/log" '.*"plane":"data","address":"([^"]+)".*')
admin=$(await "$work/log" '.*"plane":"admin","address":"([^"]+)".*')

# The stand-in upstream answers nothing but what is described status by status, so the catch-all goes:
# with it, any status would do.
sed '/^        default:$/,/^          content: \*error$/d' config/openapi.yaml >"$work/openapi.yaml"
if [ "$(grep -c 'default:' "$work/openapi.yaml")" != 0 ]; then
    echo "config/openapi.yaml has a catch-all that this script doesn't know" >&2
    exit 1
fi

# It keeps a cache in the folder that it runs in.
cd "$work"
check() {
    "$schemathesis" --config-file "$root/tests/openapi/$1" run "$work/openapi.yaml" --url "$2" --header "Authorization: Bearer $3" \
        --seed 7 --no-color --continue-on-failure "${@:4}"
}
echo "== data plane"
check data.toml "http://$data" "$gateway_token" --include-path-regex '^/v1/'
echo "== admin plane, reading while calls are stored"
check admin.toml "http://$admin" "$admin_token" --include-path-regex '^/api/' --exclude-method DELETE --exclude-method POST --phases examples,coverage
echo "== admin plane"
check admin.toml "http://$admin" "$admin_token" --exclude-path-regex '^/v1/'
echo "both planes are as described"
