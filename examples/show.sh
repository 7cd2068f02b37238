# What every example's `run` does, once it has set up what it needs:
#
#   show [--SETTING VALUE]… -- COMMAND…
#
# runs COMMAND under allcores, asks until two workers have answered, and stops. `run stay` runs it until Ctrl-C instead.
# shellcheck shell=bash
set -euo pipefail
example=$(dirname "$(readlink -f "$0")")
root=$(readlink -f "$example/../..")
stay=${1:-}
port=${PORT:-8080}
# Where what is installed goes: with what is built.
installed=$(readlink -m "${CARGO_TARGET_DIR:-$root/target}")/examples
common=$root/tests/common
cd "$example"

# A test brings the program that it tests.
if [ -z "${ALLCORES:-}" ]; then
  "$root/tests/run" install
  musl=$(uname -m)-unknown-linux-musl
  cargo build --release --quiet --manifest-path "$root/Cargo.toml" --target "$musl"
  ALLCORES=$(readlink -f "${CARGO_TARGET_DIR:-$root/target}/$musl/release/allcores")
fi

work=
# What was started ends with us, in whatever way that is.
# shellcheck disable=SC2046
trap 'kill $(jobs -pr) 2>/dev/null || true; rm -rf "$work"' EXIT

# A program beside allcores: a proxy.
beside() {
  printf '$ %s &\n' "$*"
  "$@" &
}

show() {
  printf '\n$ allcores --workers 2 %s\n' "$*"
  if [ "$stay" = stay ]; then
    "$ALLCORES" --workers 2 "$@"
    exit
  fi
  "$ALLCORES" --workers 2 "$@" &
  local pool=$! answers='' workers=0
  # Connections that come at once are answered by several. One that comes too early waits in the socket, where there is one.
  for _ in $(seq 50); do
    answers+=$(seq 8 | xargs -P 8 -I{} curl --silent --show-error --fail --retry 60 --retry-all-errors --retry-delay 1 \
      "http://127.0.0.1:$port/")$'\n'
    workers=$(sort -u <<<"$answers" | grep -c '^worker ')
    if [ "$workers" -ge 2 ]; then break; fi
  done
  sort <<<"$answers" | uniq -c | grep 'worker '
  if [ "$workers" -lt 2 ]; then echo 'only one worker has answered'; exit 1; fi

  printf '\n$ kill %s   # allcores\n' "$pool"
  kill "$pool"
  local code=0
  wait "$pool" || code=$?
  printf '\nexit code %d\n' "$code"
  exit "$code"
}
