#!/bin/bash
# Installs every Node that the tests run their programs with, and the packages that the programs are made of, into the
# directory that is given. Can be called as often as you like.
set -eu
DIRECTORY=${1:?usage: setup.sh DIRECTORY}
COMMON=$(dirname "$(readlink -f "$0")")/../common
mkdir -p "$DIRECTORY"
exec 9>"$DIRECTORY/lock"
flock 9

"$COMMON/install.sh" openssl:openssl prlimit:util-linux
for version in 18 20 22 24 26; do
  "$COMMON/npm.sh" "$DIRECTORY/node-$version" "node@$version"
  [[ $("$DIRECTORY/node-$version/node_modules/node/bin/node" --version) == v$version.* ]]
done
# All of them run with Node 20.
"$COMMON/npm.sh" "$DIRECTORY/packages" express@5 fastify@5 koa@3 ws@8 socket.io@4 socket.io-client@4 undici@6

if [ ! -s "$DIRECTORY/certificate.pem" ]; then
  openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj /CN=localhost \
    -keyout "$DIRECTORY/key.pem" -out "$DIRECTORY/certificate.pem" 2>/dev/null
fi
