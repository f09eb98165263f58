#!/usr/bin/env bash
# Makes release/out: an archive and a .deb for Linux on x86-64, an SBOM, and checksums. The same commit and toolchain give the same bytes in
# any folder. `--no-build` takes the binary that is there.
set -euo pipefail
cd "$(dirname "$0")/.."

version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
export SOURCE_DATE_EPOCH
# Other flags than those of `cargo build`, so a folder of its own.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/archive
name=pleura-$version-x86_64-linux
out=release/out
rm -rf "$out"
mkdir -p "$out/$name"

if [ "${1:-}" != --no-build ]; then
  # Without the paths of this machine.
  sources=${CARGO_HOME:-$HOME/.cargo}/registry/src
  remaps=(--remap-path-prefix="$PWD"=/pleura --remap-path-prefix="$sources"=/crates)
  CARGO_ENCODED_RUSTFLAGS=$(IFS=$'\x1f' && echo "${remaps[*]}") CFLAGS="-ffile-prefix-map=$sources=/crates ${CFLAGS:-}" \
    cargo build --release --locked -p pleura-cli --features service
fi
install -m 755 "$CARGO_TARGET_DIR/release/pleura" "$out/$name/pleura"
# The linker's identifier is of symbols that are stripped, which know the folder.
strip --remove-section=.note.gnu.build-id "$out/$name/pleura"
cp README.md LICENSE-APACHE LICENSE-MIT "$out/$name/"
python3 release/dependencies.py --version "$version" --sbom "$out/$name/sbom.cdx.json" --licences "$out/$name/THIRD-PARTY-LICENCES.txt"

# Not every version of the binary prints them.
for shell in bash zsh fish; do
  if "$out/$name/pleura" completions "$shell" >"$out/completions" 2>/dev/null; then
    install -D -m 644 "$out/completions" "$out/$name/completions/pleura.$shell"
  fi
done
rm -f "$out/completions"

archive() { tar --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner -C "$out" -cf - "$name" | gzip -n9; }
archive >"$out/$name.tar.gz"

if command -v dpkg-deb >/dev/null; then
  package=$out/package
  install -D -m 755 "$out/$name/pleura" "$package/usr/bin/pleura"
  install -D -m 644 release/pleura.service "$package/usr/lib/systemd/system/pleura.service"
  for file in LICENSE-APACHE LICENSE-MIT THIRD-PARTY-LICENCES.txt sbom.cdx.json; do
    install -D -m 644 "$out/$name/$file" "$package/usr/share/doc/pleura/$file"
  done
  mkdir "$package/DEBIAN"
  # The newest version that a symbol asks for.
  glibc=$(objdump -T "$out/$name/pleura" | sed -n 's/.*GLIBC_\([0-9.]*\).*/\1/p' | sort -Vu | tail -n 1)
  cat >"$package/DEBIAN/control" <<CONTROL
Package: pleura
Version: $version
Architecture: amd64
Maintainer: The authors of Pleura <noreply@invalid>
Depends: libc6 (>= $glibc), libgcc-s1
Recommends: libvulkan1
Description: Neural networks on data that stays encrypted
CONTROL
  dpkg-deb --root-owner-group -Zgzip --build "$package" "$out/pleura_${version}_amd64.deb" >/dev/null
  rm -r "$package"
else
  echo "skipped: the .deb, which needs dpkg-deb"
fi
(cd "$out" && sha256sum -- *.tar.gz $(compgen -G '*.deb' || true) >SHA256SUMS && cat SHA256SUMS)
