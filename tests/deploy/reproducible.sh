#!/bin/bash
# Builds the release binary of the last commit twice, in different folders, and shows that the bytes are
# the same, that no path of this machine is in them, and that they list their crates.
#
#   tests/deploy/reproducible.sh [BINARY]      leaves the binary there; default target/static/credira-gateway
#
# Needs git, python3, binutils and, for the list of crates, cargo-auditable. Two release builds.
set -eu
cd "$(dirname "$0")/../.."

binary=${1:-target/static/credira-gateway}
scratch=$(mktemp -d)
trap 'wait; rm -rf "$scratch"' EXIT
CREDIRA_GATEWAY_REVISION=$(git rev-parse --short=12 HEAD)
export CREDIRA_GATEWAY_REVISION

build() { # PLACE [SOURCES...]
    mkdir -p "$scratch/$1/sources"
    git archive HEAD -- "${@:2}" | tar -x -C "$scratch/$1/sources"
    built=$("$scratch/$1/sources/deploy/build-static.sh" "$scratch/$1/built")
    mv "$built" "$scratch/binaries/$(echo "$1" | tr / -)"
}

# At once: half of a build is linking, which has use for one processor.
mkdir "$scratch/binaries"
build one &
one=$!
# From no more than what the image is built from.
mapfile -t sources < <(sed -n 's/^!//p' deploy/Dockerfile.dockerignore)
build another/place "${sources[@]}" &
wait "$one"
wait "$!"

sha256sum "$scratch"/binaries/* | sed "s|$scratch/binaries/||"
cmp "$scratch/binaries/one" "$scratch/binaries/another-place"
echo "reproducible: both builds are the same"

for path in "$scratch" "${CARGO_HOME:-$HOME/.cargo}" "$PWD"; do
    if grep -qaF "$path" "$scratch/binaries/one"; then
        echo "the binary names $path" >&2
        exit 1
    fi
done
echo "no path of this machine is in it"

if readelf --program-headers "$scratch/binaries/one" | grep -q INTERP; then
    echo "the binary is not static" >&2
    exit 1
fi
echo "it is static"

# The section that cargo-auditable writes: compressed JSON.
objcopy --dump-section .dep-v0="$scratch/crates" "$scratch/binaries/one" /dev/null
python3 - "$scratch/crates" << 'END'
import json, sys, zlib
crates = json.loads(zlib.decompress(open(sys.argv[1], "rb").read()))["packages"]
names = {crate["name"] for crate in crates}
assert {"credira-gateway", "hyper", "rustls"} <= names, names
print(f"it lists its {len(crates)} crates")
END

mkdir -p "$(dirname "$binary")"
cp "$scratch/binaries/one" "$binary"
echo "$binary"
