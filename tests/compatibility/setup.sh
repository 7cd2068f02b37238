#!/bin/bash
# Installs every Node that the tests run their programs with, and the packages that the programs are made of, into the
# directory that is given. Can be called as often as you like.
set -eu
DIRECTORY=${1:?usage: setup.sh DIRECTORY}
mkdir -p "$DIRECTORY"
exec 9>"$DIRECTORY/lock"
flock 9

"$(dirname "$(readlink -f "$0")")/../common/install.sh" npm:nodejs npm:npm openssl:openssl prlimit:util-linux

# npm_install FOLDER PACKAGE…
npm_install() {
  local folder=$DIRECTORY/$1
  shift
  rm -rf "$folder"
  mkdir -p "$folder"
  echo "installing $*" >&2
  (cd "$folder" && npm install --prefix . --no-audit --no-fund --loglevel=error "$@" >&2)
}

for version in 18 20 22 24 26; do
  node=$DIRECTORY/node-$version/node_modules/node/bin/node
  [[ $("$node" --version 2>/dev/null) == v$version.* ]] || npm_install "node-$version" "node@$version"
  [[ $("$node" --version) == v$version.* ]]
done

# All of them run with Node 20.
packages=(express@5 fastify@5 koa@3 ws@8 socket.io@4 socket.io-client@4 undici@6)
if [ "$(cat "$DIRECTORY/packages/all" 2>/dev/null)" != "${packages[*]}" ]; then
  npm_install packages "${packages[@]}"
  echo "${packages[*]}" >"$DIRECTORY/packages/all"
fi

if [ ! -s "$DIRECTORY/certificate.pem" ]; then
  openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj /CN=localhost \
    -keyout "$DIRECTORY/key.pem" -out "$DIRECTORY/certificate.pem" 2>/dev/null
fi
