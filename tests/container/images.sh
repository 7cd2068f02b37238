#!/bin/bash
# Makes local stand-ins, under their real names, for the base images that the project's Dockerfile, the example for Node and the
# tests' own begin with, from Debian's packages, npm's Node and this machine's Rust. An image that is there already is left alone. Needs
# DOCKER_HOST. Can be called as often as you like.
set -eu
TARGETS=(x86_64-unknown-linux-musl aarch64-unknown-linux-musl)
exec 9>"${TMPDIR:-/tmp}/allcores-images.lock"
flock 9

have() { docker image inspect "$1" >/dev/null 2>&1; }
# What a stand-in of today has in it. An image that was pulled is no stand-in.
toolchain="$(rustc --version) for ${TARGETS[*]}"
have_rust() {
  [ "$(docker image inspect --format '{{if .RepoDigests}}pulled{{else}}{{.Config.Labels.toolchain}}{{end}}' \
    rust:1-alpine 2>/dev/null)" = "$1" ]
}
if have busybox:stable && have node:22-slim && { have_rust pulled || have_rust "$toolchain"; }; then exit 0; fi

COMMON=$(dirname "$(readlink -f "$0")")/../common
"$COMMON/install.sh" mmdebstrap:mmdebstrap /usr/share/doc/busybox-static:busybox-static \
  /etc/ssl/certs/ca-certificates.crt:ca-certificates
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT

if ! have busybox:stable; then
  echo 'making busybox:stable' >&2
  root=$WORK/busybox
  mkdir -p "$root/bin" "$root/tmp" "$root/etc"
  cp /bin/busybox "$root/bin/"
  for applet in $(busybox --list | grep -vx busybox); do ln -s busybox "$root/bin/$applet"; done
  chmod 1777 "$root/tmp"
  echo 'root:x:0:0::/:/bin/sh' >"$root/etc/passwd"
  tar -C "$root" -c . | docker import -c 'ENV PATH=/bin' -c 'CMD ["sh"]' - busybox:stable >/dev/null
fi

# Node, with the libraries that it names, from this machine.
if ! have node:22-slim; then
  echo 'making node:22-slim' >&2
  root=$WORK/node
  mkdir -p "$root/usr/local/bin" "$root/tmp"
  "$COMMON/npm.sh" "$WORK/npm" node@22
  cp "$WORK/npm/node_modules/node/bin/node" "$root/usr/local/bin/"
  ldd "$root/usr/local/bin/node" | grep -o '/[^ ]*' | xargs -I{} cp -L --parents {} "$root"
  chmod 1777 "$root/tmp"
  tar -C "$root" -c . | docker import -c 'ENV PATH=/usr/local/bin' -c 'CMD ["node"]' - node:22-slim >/dev/null
fi

# This machine's toolchain, with its musl targets, on a Debian; apk and rustup have nothing to do there.
if ! have_rust pulled && ! have_rust "$toolchain"; then
  echo 'making rust:1-alpine' >&2
  rustup --quiet target add "${TARGETS[@]}" >&2
  root=$WORK/rust
  mkdir -p "$root"
  mmdebstrap --quiet --variant=minbase --mode=root --include=gcc,libc6-dev,ca-certificates bookworm - |
    tar -C "$root" -x --exclude='./dev/*'
  mkdir -p "$root/usr/local/cargo/bin"
  cp -a "$(readlink -f "$(rustc --print sysroot)")" "$root/usr/local/rust"
  rm -rf "$root/usr/local/rust/share" "$root/var/cache/apt" "$root/var/lib/apt/lists"
  for tool in cargo rustc; do ln -s "../../rust/bin/$tool" "$root/usr/local/cargo/bin/$tool"; done
  # A machine that trusts a certificate of its own needs that inside as well.
  cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
  for tool in apk rustup; do
    printf '#!/bin/sh\nexit 0\n' >"$root/usr/local/bin/$tool"
    chmod +x "$root/usr/local/bin/$tool"
  done
  path=/usr/local/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
  tar -C "$root" -c . | docker import -c "ENV PATH=$path CARGO_HOME=/usr/local/cargo" -c "LABEL toolchain='$toolchain'" - rust:1-alpine >/dev/null
fi
