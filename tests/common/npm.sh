#!/bin/bash
# npm.sh DIRECTORY PACKAGE…   installs these packages for Node into DIRECTORY/node_modules, and Node where there is none. Can be
# called as often as you like.
set -eu
DIRECTORY=${1:?usage: npm.sh DIRECTORY PACKAGE…}
shift
mkdir -p "$DIRECTORY"
exec 9>"$DIRECTORY.lock"
flock 9
if [ "$(cat "$DIRECTORY/packages" 2>/dev/null)" = "$*" ]; then exit 0; fi

"$(dirname "$(readlink -f "$0")")/install.sh" npm:nodejs npm:npm
echo "installing $*" >&2
rm -rf "$DIRECTORY"
mkdir "$DIRECTORY"
npm install --prefix "$DIRECTORY" --no-audit --no-fund --loglevel=error "$@" >&2
echo "$*" >"$DIRECTORY/packages"
