#!/bin/sh
# Builds the release binary that needs nothing of the system it runs on: linked to glibc statically,
# the list of its crates inside, and the same bytes wherever it is built from the same sources with the
# same toolchain.
#
#   deploy/build-static.sh [TARGET_DIR]
#
# Prints the binary's path. $FEATURES names cargo features, "otlp" (traces) if unset; $TARGET another triple
# than the host's; $CREDIRA_GATEWAY_REVISION the commit where there is no repository.
set -eu
cd "$(dirname "$0")/.."

target_dir=${1:-target}
mkdir -p "$target_dir"
target_dir=$(cd "$target_dir" && pwd)
triple=${TARGET:-$(rustc -vV | sed -n 's/^host: //p')}
features=${FEATURES-otlp}

# shellcheck disable=SC2089 # the quotes are meant for rustc.
# Where glibc is linked statically, the crate getrandom can't find out by itself that the kernel has the
# call, and would open /dev/urandom, which an empty root doesn't have.
RUSTFLAGS='-C target-feature=+crt-static --cfg getrandom_backend="linux_getrandom"'
# Paths of the machine that builds end up in panic messages, and so in the bytes, unless they are renamed.
RUSTFLAGS="$RUSTFLAGS --remap-path-prefix=$PWD=/credira-gateway"
RUSTFLAGS="$RUSTFLAGS --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"
RUSTFLAGS="$RUSTFLAGS --remap-path-prefix=$target_dir=/target"
# shellcheck disable=SC2090 # as above
export RUSTFLAGS
# The same for what is written in C.
CFLAGS="-ffile-prefix-map=$PWD=/credira-gateway -ffile-prefix-map=${CARGO_HOME:-$HOME/.cargo}=/cargo"
CFLAGS="$CFLAGS -ffile-prefix-map=$target_dir=/target"
export CFLAGS

# cargo auditable puts the names and versions of all crates into a section of the binary.
subcommand=build
if cargo auditable --version > /dev/null 2>&1; then
    subcommand="auditable build"
else
    echo "cargo-auditable is not installed: the binary will not list its crates" >&2
fi

# With the target named, the flags above are not used for procedural macros and build scripts, which
# could not be built with them.
# shellcheck disable=SC2086
cargo $subcommand --locked --release --bin credira-gateway --features "$features" --target "$triple" \
    --target-dir "$target_dir" >&2
echo "$target_dir/$triple/release/credira-gateway"
