#!/usr/bin/env bash
# Makes what is installed on hosts: a .deb, an .rpm and static programs, in target/packages, and says how large they are.
#
#   scripts/package.sh                       builds the release and packs it
#   scripts/package.sh --binary FILE         packs this program instead, without static ones
#   scripts/package.sh --version 0.1.0~rc1   another version than that of Cargo.toml
#   scripts/package.sh --out DIR             to there
#
# Needs cargo-deb and cargo-generate-rpm, and installs them below target/packages where they are missing. A static program
# is made for each target that is there: `rustup target add ARCH-unknown-linux-musl`. The same sources give the same bytes, in whatever
# directory they lie: by SOURCE_DATE_EPOCH (default: the date of the commit), paths that are taken out, and Cargo.lock.
set -euo pipefail

# Of the program in each package, stripped, if it is built here: a tenth above what it has, 8.5 MB, so that growth is seen.
LIMIT=9400000
CARGO_DEB=3.8.0
CARGO_GENERATE_RPM=0.21.1
# As Debian's tools have it.
MAINTAINER="${DEBFULLNAME:-the heartsay authors} <${DEBEMAIL:-heartsay@heartsay.invalid}>"

BINARY='' VERSION='' OUT=''

main() {
    while [[ $# -gt 0 ]]; do
        case $1 in
            --binary) BINARY=$(realpath -- "${2:?--binary FILE}") && shift 2 ;;
            --out) OUT=$(realpath -m -- "${2:?--out DIR}") && shift 2 ;;
            --version) VERSION=${2:?--version VERSION} && shift 2 ;;
            *) fail "unknown argument $1; see the top of this file" ;;
        esac
    done
    cd "$(dirname "${BASH_SOURCE[0]}")/.."
    TARGET=$(realpath -m -- "${CARGO_TARGET_DIR:-target}")
    OUT=${OUT:-$TARGET/packages}
    HOST=$(rustc -vV | sed -n 's/^host: //p')
    VERSION=${VERSION:-$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -1)}
    SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
    export SOURCE_DATE_EPOCH
    mkdir -p "$OUT"
    PATH=$OUT/tools/bin:$PATH
    tool cargo-deb "$CARGO_DEB"
    tool cargo-generate-rpm "$CARGO_GENERATE_RPM"
    GIVEN=$BINARY
    local static=() target
    if [[ -z $GIVEN ]]; then
        build "$HOST"
        BINARY=$TARGET/$HOST/release/heartsay
        for target in $(static_targets); do
            static+=("$target")
            build_static "$target"
        done
        [[ ${#static[@]} -gt 0 ]] || echo "SKIPPED the static program: rustup target add ${HOST%%-*}-unknown-linux-musl"
    fi
    lay
    pack
    for target in "${static[@]}"; do
        pack_static "$target"
    done
    sizes
}

fail() {
    echo "package.sh: $1" >&2
    exit 1
}

# The version that was tried, if none is there.
tool() {
    command -v "$1" >/dev/null || cargo install --locked --quiet --root "$OUT/tools" --version "$2" "$1"
}

# Without a path of this machine in it: that of the sources, of cargo's copies of crates, and of what build scripts write.
build() {
    local cargo=${CARGO_HOME:-$HOME/.cargo}
    RUSTFLAGS="${RUSTFLAGS:-} --remap-path-prefix=$TARGET=/target --remap-path-prefix=$PWD=/heartsay --remap-path-prefix=$cargo=/cargo" \
        cargo build --release --locked -p heartsay --target "$1"
}

# Those whose standard library is here.
static_targets() {
    local dir
    for dir in "$(rustc --print sysroot)"/lib/rustlib/*-unknown-linux-musl/lib; do
        [[ ! -d $dir ]] || basename "${dir%/lib}"
    done
}

# Nothing in it is C, so the linker of rustc is enough for other processors.
build_static() {
    local linker=CARGO_TARGET_${1^^}_LINKER
    linker=${linker//-/_}
    if [[ ${1%%-*} != "${HOST%%-*}" && -z ${!linker:-} ]]; then
        export "$linker=rust-lld"
    fi
    build "$1"
}

# All that the packages take and that is no file of the repository, where cargo-deb and cargo-generate-rpm look for it.
lay() {
    STAGE=$OUT/stage
    local release=$STAGE/release
    rm -rf "$STAGE"
    mkdir -p "$release/man1" "$release/man5" "$release/completions"
    strip -o "$release/heartsay" "$BINARY"
    local shell
    for shell in bash zsh fish; do
        "$release/heartsay" completions "$shell" >"$release/completions/heartsay.$shell"
    done
    HEARTSAY_MANUAL=$release/man cargo test --quiet --locked -p heartsay --bin heartsay manual >"$OUT/manual.log" 2>&1 ||
        { cat "$OUT/manual.log" >&2 && fail "no pages for man(1)"; }
    gzip -9n "$release"/man/*
    mv "$release"/man/*.1.gz "$release/man1/"
    mv "$release"/man/*.5.gz "$release/man5/"
    rmdir "$release/man"
    copyright >"$release/copyright"
    gzip -9n >"$release/changelog.gz" <<END
heartsay ($VERSION) unstable; urgency=medium

  * See CHANGELOG.md of the sources.

 -- $MAINTAINER  $(LC_ALL=C date -u -R -d "@$SOURCE_DATE_EPOCH")
END
}

# As Debian reads it.
copyright() {
    cat <<END
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: heartsay

Files: *
Copyright: $(sed -n 's/^Copyright (c) //p' LICENSE-MIT)
License: MIT or Apache-2.0

License: MIT
$(sed -n '/^Copyright/,$ { s/^$/./; s/^/ /p }' LICENSE-MIT)

License: Apache-2.0
 On Debian systems it is in /usr/share/common-licenses/Apache-2.0.
END
}

pack() {
    # Not those of an earlier version.
    rm -f "$OUT"/heartsay*.deb "$OUT"/heartsay*.rpm "$OUT"/heartsay*.tar.gz
    CARGO_TARGET_DIR=$STAGE cargo deb --quiet --no-build --no-strip --package heartsay --deb-version "$VERSION" \
        --maintainer "$MAINTAINER" --output "$OUT"
    # A tilde sorts below the version itself, with rpm as with dpkg.
    cargo generate-rpm --package agent --target-dir "$STAGE" --set-metadata "version = \"$VERSION\"" \
        --auto-req builtin --output "$OUT/"
}

pack_static() {
    local name=heartsay-$VERSION-$1
    mkdir -p "$STAGE/$name"
    # The strip of this machine knows one processor.
    local rust
    rust=$(rustc --print sysroot)
    LD_LIBRARY_PATH=$rust/lib "$rust/lib/rustlib/$HOST/bin/rust-objcopy" --strip-all \
        "$TARGET/$1/release/heartsay" "$STAGE/$name/heartsay"
    if readelf -l "$STAGE/$name/heartsay" | grep INTERP; then
        fail "$1: not static"
    fi
    cp -L LICENSE-MIT LICENSE-APACHE agent/packaging/heartsay.{service,sysusers,tmpfiles,toml} "$STAGE/$name/"
    cp -r "$STAGE/release/man1" "$STAGE/release/man5" "$STAGE/release/completions" "$STAGE/$name/"
    tar --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" --mode=go=rX,u+rw \
        -C "$STAGE" -c "$name" | gzip -9n >"$OUT/$name.tar.gz"
}

sizes() {
    local file size
    for file in "$STAGE/release/heartsay" "$STAGE"/heartsay-*/heartsay; do
        [[ -e $file ]] || continue
        size=$(stat -c %s "$file")
        printf '%10d  %s\n' "$size" "${file#"$STAGE/"}"
        [[ -n $GIVEN ]] || ((size <= LIMIT)) || fail "$file is larger than $LIMIT bytes"
    done
    for file in "$OUT"/heartsay*.{deb,rpm,tar.gz}; do
        [[ ! -e $file ]] || printf '%10d  %s\n' "$(stat -c %s "$file")" "$file"
    done
}

main "$@"
