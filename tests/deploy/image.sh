#!/bin/bash
# Builds the last stage of deploy/Dockerfile, around a static binary that is there already, with Debian's
# buildah; looks at the image, and runs a gateway in it as Docker would.
#
#   tests/deploy/image.sh [BINARY]      default target/static/credira-gateway
#
# Leaves the image in target/image/credira-gateway.tar, for `docker load` or `buildah pull docker-archive:`.
# No base image is needed, and no registry. Needs buildah, python3, curl, and root.
set -euo pipefail
cd "$(dirname "$0")/../.."

binary=$(realpath "${1:-target/static/credira-gateway}")
scratch=$(mktemp -d)
# A store of its own, which goes with the folder.
buildah() {
    command buildah --root "$scratch/store" --runroot "$scratch/run" --storage-driver vfs "$@"
}
container= pids=()
finish() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait
    if [ -n "$container" ]; then buildah rm "$container" >/dev/null 2>&1 || true; fi
    rm -rf "$scratch"
}
trap finish EXIT

fail() {
    echo "$*" >&2
    exit 1
}
# Waits until a command succeeds, at most twenty seconds.
eventually() {
    for _ in $(seq 400); do
        if "$@" >/dev/null 2>&1; then return; fi
        sleep 0.05
    done
    fail "waited in vain: $*"
}

mkdir "$scratch/context"
cp "$binary" "$scratch/context/credira-gateway"
deploy/licenses.sh "$scratch/context/licenses" static
sed -n '/^FROM scratch/,$p' deploy/Dockerfile | sed 's|^COPY --from=build /|COPY |' >"$scratch/Dockerfile"
buildah bud --quiet --isolation chroot --format docker --build-arg REVISION=0123456789ab \
    --file "$scratch/Dockerfile" --tag credira-gateway "$scratch/context" >/dev/null
echo "built by $(command buildah --version)"

# What it says of itself.
buildah inspect --type image credira-gateway >"$scratch/image.json"
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
python3 - "$scratch/image.json" "$version" <<'END'
import json, sys
config = json.load(open(sys.argv[1]))["Docker"]["config"]
labels = {name.removeprefix("org.opencontainers.image."): value for name, value in config["Labels"].items()}
expected = {"title": "credira-gateway", "version": sys.argv[2], "revision": "0123456789ab", "licenses": "MIT OR Apache-2.0"}
assert expected.items() <= labels.items() and labels["description"], labels
assert config["User"] == "65532:65532", config["User"]
assert config["Entrypoint"] == ["/credira-gateway"] and config["Cmd"] == ["serve"], config
assert config["Healthcheck"]["Test"] == ["CMD", "/credira-gateway", "healthcheck"], config["Healthcheck"]
assert set(config["ExposedPorts"]) == {"8080/tcp", "9090/tcp"}, config["ExposedPorts"]
print("labels, user, command and health check are as they should be")
END

# What is in it: nothing but the program and licences.
container=$(buildah from credira-gateway)
root=$(buildah mount "$container")
listed=$(cd "$root" && find . -type f | sort | tr '\n' ' ')
expected="./credira-gateway ./licenses/LICENSE-APACHE ./licenses/LICENSE-MIT ./licenses/crates.txt \
./licenses/glibc.txt ./licenses/rust-library.html "
if [ "$listed" != "$expected" ]; then fail "the image holds $listed"; fi
echo "in it: $listed"

# A gateway in it, with files mounted as Docker and Kubernetes mount them.
mkdir "$scratch/etc" "$scratch/secrets"
token=token-of-the-image-0123456789abcdef01234
echo "$token" >"$scratch/secrets/token"
echo the-upstream-key >"$scratch/secrets/upstream-key"
"$binary" mock-upstream --listen 127.0.0.1:0 --api-key the-upstream-key >"$scratch/upstream" &
pids+=($!)
eventually grep listening "$scratch/upstream"
cat >"$scratch/etc/gateway.toml" <<END
[listen]
address = "127.0.0.1:0"
[admin]
address = "127.0.0.1:0"
[upstream]
base_url = "$(sed -n 's/^listening on //p' "$scratch/upstream")"
[[tenants]]
name = "billing"
tokens = [{ file = "/run/secrets/token" }]
upstream_key = { file = "/run/secrets/upstream-key" }
END
chmod -R a+rX "$scratch/etc" "$scratch/secrets"
run() {
    buildah run --isolation chroot --volume "$scratch/etc:/etc/credira-gateway:ro" --volume "$scratch/secrets:/run/secrets:ro" \
        "$container" -- "$@"
}
run /credira-gateway serve 2>"$scratch/log" &
pids+=($!)
serving=$!
eventually grep '"plane":"admin"' "$scratch/log" || cat "$scratch/log"
address() { sed -n "s/.*\"plane\":\"$1\",\"address\":\"\([^\"]*\)\".*/\1/p" "$scratch/log"; }
run /credira-gateway healthcheck --admin "$(address admin)"
for expected in "fwd=uri-miss; fwd-status=200; stored" "hit"; do
    answer=$(curl --silent --max-time 12 --oauth2-bearer "$token" --write-out '%{http_code} %header{cache-status}\n' \
        --output /dev/null "http://$(address data)/v1/calls/call_1")
    case $answer in
        "200 credira-gateway; $expected"*) echo "  $answer" ;;
        *) fail "expected $expected, got $answer" ;;
    esac
done
gateway=$(pgrep --full --exact '/credira-gateway serve')
grep -q '^Uid:.65532.65532.65532.65532$' "/proc/$gateway/status"
kill -TERM "$gateway"
wait "$serving"

mkdir -p target/image
rm -f target/image/credira-gateway.tar
buildah push --quiet credira-gateway "docker-archive:target/image/credira-gateway.tar:credira-gateway:$version"
ls -l target/image/credira-gateway.tar
echo "built, started, asked and ended: ok"
