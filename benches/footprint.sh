#!/bin/sh
# Measures what TLS and traces cost in memory, off and on.
#
#   cargo build --release && cp target/release/credira-gateway /tmp/plain
#   cargo build --release --features otlp && cp target/release/credira-gateway /tmp/traced
#   benches/footprint.sh /tmp/plain /tmp/traced
#
# Prints the sizes of the programs, then one line for each way to run them: an idle process's private memory
# (Pss_Anon), its memory including its share of mapped files (Pss), both in KiB, and its threads. The cost of
# TLS is the difference between its line and the first. Reading another process's memory map needs ptrace
# permission, which root usually has. Needs openssl.
set -eu
plain=$1 traced=$2
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=gateway.test \
    -keyout "$folder/key.pem" -out "$folder/cert.pem" 2>/dev/null

configure() { # NAME, TLS, UPSTREAM
    cat >"$folder/$1.toml" <<END
[listen]
address = "127.0.0.1:0"
$2
[admin]
address = "127.0.0.1:0"
[upstream]
base_url = "$3"
[[tenants]]
name = "a"
tokens = [{ value = "a-token-of-this-bench-0123456789abcdef" }]
upstream_key = { value = "key" }
END
}

measure() { # LABEL, PROGRAM, CONFIGURATION
    : >"$folder/log"
    "$2" serve --config "$folder/$3.toml" 2>"$folder/log" &
    process=$!
    until [ "$(grep -c listening "$folder/log")" -ge 2 ]; do sleep 0.05; done
    sleep 1
    rollup=$(cat "/proc/$process/smaps_rollup")
    threads=$(awk '/^Threads:/ { print $2 }' "/proc/$process/status")
    echo "$rollup" | awk -v label="$1" -v threads="$threads" \
        '/^Pss:/ { pss = $2 } /^Pss_Anon:/ { anon = $2 }
         END { printf "%-36s Pss_Anon %6d  Pss %6d  threads %d\n", label, anon, pss, threads }'
    kill "$process"
    wait "$process" || true
}

tls="tls = { cert = \"$folder/cert.pem\", key = \"$folder/key.pem\" }"
configure plain "" "http://127.0.0.1:1"
configure listener "$tls" "http://127.0.0.1:1"
configure upstream "" "https://localhost:1"

ls -l "$plain" "$traced" | awk '{ printf "%-36s %d bytes\n", $NF, $5 }'
measure "plain" "$plain" plain
measure "TLS towards callers" "$plain" listener
measure "TLS towards the upstream" "$plain" upstream
measure "built with traces, off" "$traced" plain
OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:9 measure "built with traces, on" "$traced" plain
