#!/bin/sh
# Writes the licence texts of what the program is built from into a folder:
#
#   deploy/licenses.sh FOLDER           crates.txt, rust-library.html, and the program's own
#   deploy/licenses.sh FOLDER static    glibc.txt beside them, for the binary of build-static.sh
#
# $FEATURES and $TARGET as for build-static.sh. A crate without a licence file, under a licence whose text
# is not known here, is an error.
set -eu
cd "$(dirname "$0")/.."

folder=$1
linked=${2:-dynamic}
target=${TARGET:-$(rustc -vV | sed -n 's/^host: //p')}
features=${FEATURES-otlp}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

cargo fetch --locked --target "$target" >&2
# What is linked into the program: neither build scripts nor procedural macros.
cargo tree --locked --offline --target "$target" --features "$features" --edges normal,no-proc-macro --prefix none \
    --format '{p}|{l}' | sed 's/ (\*)$//' | sort -u | grep -v '^credira-gateway v' > "$scratch/crates"

# The files of a crate that state its licence, none for some.
licence_files() { # FOLDER
    find "$1" -maxdepth 1 -type f \( -iname 'licen[sc]e*' -o -iname 'unlicense*' -o -iname 'copying*' \
        -o -iname 'copyright*' -o -iname 'notice*' \) | sort
}

# For crates without such a file. The text of Apache 2.0 names no holder; that of MIT begins with one.
standard_text() { # CRATE FOLDER LICENCE
    case $3 in
        *Apache-2.0*) cat LICENSE-APACHE ;;
        *MIT*)
            sed -n 's/^authors = \[*/Copyright (c) /p' "$2/Cargo.toml" | tr -d '"[]'
            sed -n '/^Permission is hereby/,$p' LICENSE-MIT
            ;;
        *)
            echo "$1 has no licence file, and the text of $3 is not known to deploy/licenses.sh" >&2
            exit 1
            ;;
    esac
}

# Each text once, with the crates that it belongs to.
mkdir -p "$scratch/texts" "$scratch/names" "$folder"
while IFS='|' read -r package licence; do
    name=${package%% v*}
    version=${package#* v}
    version=${version%% *}
    sources=$(find "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/"$name-$version" -maxdepth 0 | head -n 1)
    files=$(licence_files "$sources")
    if [ -z "$files" ]; then
        standard_text "$name" "$sources" "$licence" > "$scratch/standard"
        files=$scratch/standard
    fi
    for file in $files; do
        sum=$(sha256sum < "$file" | cut -d ' ' -f 1)
        cp "$file" "$scratch/texts/$sum"
        echo "$name $version" >> "$scratch/names/$sum"
    done
    echo "$name $version: $licence" >> "$scratch/list"
done < "$scratch/crates"

{
    echo "The crates that credira-gateway is built from, with features \"$features\" for $target,"
    echo "and the licence texts that came with them."
    echo
    cat "$scratch/list"
    for names in "$scratch"/names/*; do
        printf '\n%s\n' "--------------------------------------------------------------------------------"
        sed 's/^/# /' "$names"
        echo
        cat "$scratch/texts/${names##*/}"
    done
} > "$folder/crates.txt"
cp LICENSE-MIT LICENSE-APACHE "$folder"
cp "$(rustc --print sysroot)/share/doc/rust/COPYRIGHT-library.html" "$folder/rust-library.html"

if [ "$linked" = static ]; then
    {
        echo "The program contains parts of the GNU C Library ($(getconf GNU_LIBC_VERSION)), which is licensed under the"
        echo "GNU Lesser General Public License, version 2.1 or later. Its source is that of the distribution that the"
        echo "program was built on. deploy/build-static.sh links the program against another version of the library."
        echo
        cat /usr/share/common-licenses/LGPL-2.1
    } > "$folder/glibc.txt"
fi
