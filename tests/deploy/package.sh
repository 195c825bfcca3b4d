#!/bin/sh
# Builds the Debian package, looks at what is in it, unpacks it into an empty root and starts the program
# from there with the configuration that came with it.
#
#   tests/deploy/package.sh [PROFILE]      default release; "dev" takes seconds and tries the packaging alone
#
# Leaves the package in target/debian. Needs cargo-deb, dpkg-deb, lintian, curl, systemd-sysusers, and
# man for the pages. $FEATURES names cargo features, "otlp" (traces) if unset.
set -eu
cd "$(dirname "$0")/../.."

profile=${1:-release}
folder=$profile
if [ "$profile" = dev ]; then folder=debug; fi
scratch=$(mktemp -d)
pids=
# shellcheck disable=SC2086 # several words
trap 'kill $pids 2> /dev/null || true; rm -rf "$scratch"' EXIT

# What the program makes of itself.
features=${FEATURES-otlp}
cargo build --locked --profile "$profile" --features "$features" --bin credira-gateway
program=target/$folder/credira-gateway
rm -rf target/package
mkdir -p target/package/man
FEATURES=$features deploy/licenses.sh target/package/licenses
gzip --best --no-name < CHANGELOG.md > target/package/changelog.gz
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
released=$(sed -n "s/^## \[$version\] - //p" CHANGELOG.md)
cat > target/package/changelog.Debian << END
credira-gateway ($version-1) stable; urgency=medium

  * Version $version: changelog.gz beside this says what changed.

 -- $(sed -n 's/^maintainer = "\(.*\)"/\1/p' Cargo.toml)  $(date --utc --date "$released" --rfc-email)
END
"$program" man > target/package/man/credira-gateway.1
commands=$("$program" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z-]*\)  .*/\1/p' | grep -vx help)
for command in $commands; do
    "$program" man "$command" > "target/package/man/credira-gateway-$command.1"
done
"$program" man token new > target/package/man/credira-gateway-token-new.1
"$program" completions bash > target/package/credira-gateway.bash
"$program" completions zsh > target/package/_credira-gateway
"$program" completions fish > target/package/credira-gateway.fish

package=$(cargo deb --locked --no-build --no-strip --profile "$profile" --output target/debian/)
echo "$package"

# What is in it.
contents=$(dpkg-deb --contents "$package")
for file in \
    usr/bin/credira-gateway \
    usr/share/man/man1/credira-gateway.1.gz \
    usr/share/man/man1/credira-gateway-serve.1.gz \
    usr/share/bash-completion/completions/credira-gateway \
    usr/share/zsh/vendor-completions/_credira-gateway \
    usr/share/fish/vendor_completions.d/credira-gateway.fish \
    usr/lib/systemd/system/credira-gateway.service \
    usr/lib/systemd/system/credira-gateway.socket \
    etc/credira-gateway/gateway.toml \
    etc/credira-gateway/secrets/README \
    usr/lib/sysusers.d/credira-gateway.conf \
    usr/share/doc/credira-gateway/changelog.gz \
    usr/share/doc/credira-gateway/licenses/crates.txt \
    usr/share/doc/credira-gateway/licenses/rust-library.html \
    usr/share/doc/credira-gateway/examples/gateway.toml \
    usr/share/doc/credira-gateway/copyright; do
    if ! echo "$contents" | grep -q " \./$file\$"; then
        echo "not in the package: $file" >&2
        echo "$contents" >&2
        exit 1
    fi
done
dpkg-deb --info "$package" conffiles | grep -qx /etc/credira-gateway/gateway.toml
dpkg-deb --field "$package" Depends | grep -q libc6
# The overrides explain themselves: deploy/debian/lintian-overrides. A program with debug information, as "dev"
# makes it, is not what is judged.
if [ "$profile" = release ]; then
    lintian --allow-root --fail-on error,warning "$package"
fi
for script in postinst prerm postrm; do
    dpkg-deb --info "$package" "$script" | sh -n
done
# An upgrade that restarted the sockets would refuse connections.
if dpkg-deb --info "$package" postinst | grep -v "#" | grep restart | grep -q socket; then
    echo "the upgrade restarts the sockets" >&2
    exit 1
fi

# In a root of its own.
root=$scratch/root
dpkg-deb --extract "$package" "$root"
# The user that the service runs as.
systemd-sysusers --root="$root" credira-gateway.conf
grep -q '^credira-gateway:' "$root/etc/passwd"
grep -q '^credira-gateway:' "$root/etc/group"
program=$root/usr/bin/credira-gateway
MANPATH=$root/usr/share/man man credira-gateway-serve | grep -q "credira-gateway serve"
bash -n "$root/usr/share/bash-completion/completions/credira-gateway"

# With the configuration that came with it, but for ports, a token and the upstream.
await() {
    for _ in $(seq 200); do
        if grep -q "$1" "$2"; then return; fi
        sleep 0.05
    done
    echo "waited in vain for $1 in:" >&2
    cat "$2" >&2
    exit 1
}
"$program" mock-upstream --listen 127.0.0.1:0 --api-key the-upstream-key > "$scratch/upstream" &
pids="$pids $!"
await listening "$scratch/upstream"
upstream=$(sed -n 's/^listening on //p' "$scratch/upstream")

echo the-upstream-key > "$root/etc/credira-gateway/secrets/upstream-key-billing"
"$program" token new > "$scratch/token"
token=$(sed -n 's/^token: //p' "$scratch/token")
sed -e "s|^token_sha256 = .*|$(sed -n 2p "$scratch/token")|" \
    -e "s|/etc/credira-gateway/secrets|$root/etc/credira-gateway/secrets|" \
    "$root/etc/credira-gateway/gateway.toml" > "$scratch/gateway.toml"
export CREDIRA_GATEWAY__LISTEN__ADDRESS=127.0.0.1:0 CREDIRA_GATEWAY__ADMIN__ADDRESS=127.0.0.1:0
export CREDIRA_GATEWAY__UPSTREAM__BASE_URL="$upstream" CREDIRA_GATEWAY__DISK__PATH="$scratch/level"
"$program" check --config "$scratch/gateway.toml"
"$program" serve --config "$scratch/gateway.toml" 2> "$scratch/log" &
gateway=$!
pids="$pids $gateway"
await '"plane":"admin"' "$scratch/log"
address() { sed -n "s/.*\"plane\":\"$1\",\"address\":\"\([^\"]*\)\".*/\1/p" "$scratch/log"; }
"$program" healthcheck --admin "$(address admin)"
status=$(curl --silent --output /dev/null --write-out '%{http_code}' --oauth2-bearer "$token" \
    "http://$(address data)/v1/calls/call_1")
test "$status" = 200
kill -TERM "$gateway"
wait "$gateway"
echo "installed, started, asked and ended: ok"
