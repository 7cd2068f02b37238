#!/bin/bash
# venv.sh DIRECTORY PACKAGE…   makes DIRECTORY a Python environment of its own with these packages, and installs Python where
# there is none. Can be called as often as you like.
set -eu
DIRECTORY=${1:?usage: venv.sh DIRECTORY PACKAGE…}
shift
mkdir -p "$DIRECTORY"
exec 9>"$DIRECTORY.lock"
flock 9
if [ "$(cat "$DIRECTORY/packages" 2>/dev/null)" = "$*" ] && "$DIRECTORY/bin/python" -c ''; then exit 0; fi

HERE=$(dirname "$(readlink -f "$0")")
python3 -c 'import ensurepip, venv' 2>/dev/null || "$HERE/install.sh" python3:python3 :python3-venv
echo "installing $*" >&2
python3 -m venv --clear "$DIRECTORY"
"$DIRECTORY/bin/pip" install --quiet --disable-pip-version-check "$@" >&2
echo "$*" >"$DIRECTORY/packages"
