#!/bin/bash
# Installs the servers that the tests put behind a socket: packages by apt, Python's and the built Go program into the
# directory that is given. Can be called as often as you like.
set -eu
DIRECTORY=${1:?usage: setup.sh DIRECTORY}
HERE=$(dirname "$(readlink -f "$0")")
GO=/usr/lib/go-1.19/bin/go
mkdir -p "$DIRECTORY"
exec 9>"$DIRECTORY/lock"
flock 9

missing=()
[ -x "$GO" ] || missing+=(golang-1.19-go)
command -v node >/dev/null || missing+=(nodejs)
command -v nginx >/dev/null || missing+=(nginx-light)
command -v puma >/dev/null || missing+=(puma)
command -v php-fpm8.2 >/dev/null || missing+=(php8.2-fpm)
command -v unshare >/dev/null || missing+=(util-linux)
python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3 python3-venv)
if [ ${#missing[@]} -gt 0 ]; then
  echo "installing ${missing[*]}" >&2
  apt-get update -qq >&2
  DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 install -y --no-install-recommends \
    "${missing[@]}" >/dev/null
fi

if ! "$DIRECTORY/venv/bin/python" -c 'import gunicorn, hypercorn, uvicorn' 2>/dev/null; then
  echo 'installing gunicorn, hypercorn and uvicorn' >&2
  rm -rf "$DIRECTORY/venv"
  python3 -m venv "$DIRECTORY/venv"
  "$DIRECTORY/venv/bin/pip" install --quiet gunicorn hypercorn uvicorn >&2
fi

if [ ! "$DIRECTORY/go-server" -nt "$HERE/apps/server.go" ]; then
  echo 'building the Go server' >&2
  CGO_ENABLED=0 GO111MODULE=off GOCACHE="$DIRECTORY/go-cache" GOFLAGS='' \
    "$GO" build -o "$DIRECTORY/go-server" "$HERE/apps/server.go"
fi
