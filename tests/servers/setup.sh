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

"$HERE/../common/install.sh" "$GO:golang-1.19-go" node:nodejs nginx:nginx-light puma:puma php-fpm8.2:php8.2-fpm unshare:util-linux
"$HERE/../common/venv.sh" "$DIRECTORY/venv" gunicorn hypercorn uvicorn

if [ ! "$DIRECTORY/go-server" -nt "$HERE/apps/server.go" ]; then
  echo 'building the Go server' >&2
  CGO_ENABLED=0 GO111MODULE=off GOCACHE="$DIRECTORY/go-cache" GOFLAGS='' \
    "$GO" build -o "$DIRECTORY/go-server" "$HERE/apps/server.go"
fi
