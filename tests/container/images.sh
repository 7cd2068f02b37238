#!/bin/bash
# Makes local stand-ins, under their real names, for the base images that the project's Dockerfile and the tests' own
# begin with, from Debian's packages and this machine's Rust. An image that is there already is left alone. Needs
# DOCKER_HOST. Can be called as often as you like.
set -eu
have() { docker image inspect "$1" >/dev/null 2>&1; }
if have busybox:stable && have rust:1-alpine; then exit 0; fi

exec 9>"${TMPDIR:-/tmp}/allcores-images.lock"
flock 9
if have busybox:stable && have rust:1-alpine; then exit 0; fi

echo 'installing what makes the stand-ins' >&2
apt-get update -qq >&2
DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 install -y --no-install-recommends \
  mmdebstrap busybox-static ca-certificates >/dev/null
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

# This machine's toolchain, with its musl target, on a Debian; apk and rustup have nothing to do there.
if ! have rust:1-alpine; then
  echo 'making rust:1-alpine' >&2
  root=$WORK/rust
  toolchain=$(readlink -f "$(rustc --print sysroot)")
  mkdir -p "$root"
  mmdebstrap --quiet --variant=minbase --mode=root --include=gcc,libc6-dev,ca-certificates bookworm - |
    tar -C "$root" -x --exclude='./dev/*'
  mkdir -p "$root/usr/local/cargo/bin"
  cp -a "$toolchain" "$root/usr/local/rust"
  rm -rf "$root/usr/local/rust/share" "$root/var/cache/apt" "$root/var/lib/apt/lists"
  for tool in cargo rustc; do ln -s "../../rust/bin/$tool" "$root/usr/local/cargo/bin/$tool"; done
  # A machine that trusts a certificate of its own needs that inside as well.
  cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
  for tool in apk rustup; do
    printf '#!/bin/sh\nexit 0\n' >"$root/usr/local/bin/$tool"
    chmod +x "$root/usr/local/bin/$tool"
  done
  path=/usr/local/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
  tar -C "$root" -c . | docker import -c "ENV PATH=$path CARGO_HOME=/usr/local/cargo" - rust:1-alpine >/dev/null
fi
