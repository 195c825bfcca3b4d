#!/bin/bash
# Runs the static binary as the user nobody, in a read-only root with the binary, its configuration and its
# secrets alone. It answers lookups from an upstream that it knows by name: by
# asking a name server first, then by a hosts file, as container runtimes mount them.
#
#   tests/deploy/chroot.sh [BINARY]      default target/static/credira-gateway
#
# Needs root, and unshare, setpriv, ip (iproute2), python3, curl. Everything happens in a network and a
# mount namespace of its own.
set -eu

if [ "${inside:-}" != yes ]; then
    binary=$(realpath "${1:-target/static/credira-gateway}")
    exec env inside=yes binary="$binary" unshare --mount --net -- bash "$(realpath "$0")"
fi

scratch=$(mktemp -d)
trap 'kill $(jobs -p) 2> /dev/null || true; wait; umount "$scratch/root" 2> /dev/null || true; rm -rf "$scratch"' EXIT
root=$scratch/root
token="token-of-the-empty-root-0123456789abcdef"
ip link set lo up

mkdir -p "$root/secrets"
cp "$binary" "$root/credira-gateway"
echo "$token" > "$root/secrets/token"
echo the-upstream-key > "$root/secrets/upstream-key"
chmod 755 "$scratch" "$root" "$root/secrets"
cat > "$root/gateway.toml" << 'END'
[upstream]
base_url = "http://upstream.test:8081"
allow_plaintext = true
[[tenants]]
name = "billing"
tokens = [{ file = "/secrets/token" }]
upstream_key = { file = "/secrets/upstream-key" }
END
mount --bind "$root" "$root"

# Waits until a command succeeds, at most ten seconds.
eventually() {
    for _ in $(seq 200); do
        if "$@" > /dev/null 2>&1; then return; fi
        sleep 0.05
    done
    echo "waited in vain: $*" >&2
    exit 1
}

# A name server that knows one name.
cat > "$scratch/dns.py" << 'END'
import socket, struct
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 53))
while True:
    query, client = server.recvfrom(512)
    end = query.index(b"\0", 12) + 1
    kind, = struct.unpack(">H", query[end:end + 2])
    known = query[12:end] == b"\x08upstream\x04test\0"
    answer = b""
    if known and kind == 1:
        answer = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + socket.inet_aton("127.0.0.1")
    flags = 0x8180 if known else 0x8183
    server.sendto(query[:2] + struct.pack(">HHHHH", flags, 1, 1 if answer else 0, 0, 0) + query[12:end + 4] + answer, client)
END

lookup() {
    curl --silent --max-time 12 --oauth2-bearer "$token" --write-out '%{http_code} %header{cache-status}\n' --output /dev/null \
        http://127.0.0.1:8080/v1/calls/call_1
}

# Serves in the root as nobody, and looks a call up twice.
serve_and_look_up() {
    mount -o remount,bind,ro,nosuid,nodev "$root"
    if touch "$root/x" 2> /dev/null; then
        echo "the root can be written to" >&2
        exit 1
    fi
    env -i "$(command -v setpriv)" --no-new-privs "$(command -v chroot)" --userspec=65534:65534 --groups= "$root" \
        /credira-gateway serve --config /gateway.toml 2> "$scratch/log" &
    gateway=$!
    eventually curl --silent --fail http://127.0.0.1:9090/readyz
    grep -q '^Uid:.65534.65534.65534.65534$' "/proc/$gateway/status"
    grep -q '^CapEff:.0000000000000000$' "/proc/$gateway/status"
    for expected in "200 credira-gateway; fwd=uri-miss; fwd-status=200; stored" "200 credira-gateway; hit"; do
        answer=$(lookup)
        case $answer in
            "$expected"*) echo "  $answer" ;;
            *)
                echo "expected $expected, got $answer" >&2
                cat "$scratch/log" >&2
                exit 1
                ;;
        esac
    done
    kill -TERM "$gateway"
    wait "$gateway"
    mount -o remount,bind,rw "$root"
}

"$binary" mock-upstream --listen 127.0.0.1:8081 --api-key the-upstream-key > "$scratch/upstream" &
eventually grep listening "$scratch/upstream"

echo "in an empty root, by a name server:"
python3 "$scratch/dns.py" &
dns=$!
eventually python3 -c 'import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(1); s.connect(("127.0.0.1", 53)); s.send(b"\0\0\1\0\0\1\0\0\0\0\0\0\0\0\1\0\1"); s.recv(9)'
serve_and_look_up
kill "$dns"
wait "$dns" || true

echo "by a hosts file, without a name server:"
mkdir "$root/etc"
echo "127.0.0.1 upstream.test" > "$root/etc/hosts"
serve_and_look_up
echo "ok"
