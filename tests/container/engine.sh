#!/bin/bash
# Sees to it that there is a Docker engine, and prints where it listens: the one that runs already, or Debian's, installed
# and started here with all its data in one directory of its own. Can be called as often as you like.
#
#   engine.sh          prints e.g. unix:///var/run/docker.sock
#   engine.sh running  says by its exit code whether one runs already
#   engine.sh stop     ends the engine that was started here, and no other
set -eu
DIRECTORY=${DOCKER_DIR:-/var/tmp/dk}
OURS=unix://$DIRECTORY/docker.sock

answers() { timeout 20 docker -H "$1" info >/dev/null 2>&1; }

look() {
  command -v docker >/dev/null || return 1
  for there in "$OURS" "${DOCKER_HOST:-unix:///var/run/docker.sock}"; do
    if answers "$there"; then echo "$there"; return; fi
  done
  return 1
}

case ${1:-} in
  running)
    look >/dev/null
    exit ;;
  stop)
    if [ -s "$DIRECTORY/pid" ] && answers "$OURS"; then kill "$(cat "$DIRECTORY/pid")"; fi
    exit 0 ;;
esac

# One script at a time: two engines would fight for one bridge.
mkdir -p "$DIRECTORY"
exec 9>"$DIRECTORY/lock"
flock 9
if look; then exit 0; fi

"$(dirname "$(readlink -f "$0")")/../common/install.sh" dockerd:docker.io iptables:iptables \
  /etc/ssl/certs/ca-certificates.crt:ca-certificates
mkdir -p "$DIRECTORY/data" "$DIRECTORY/exec"
rm -f "$DIRECTORY/pid"
setsid -f dockerd --data-root "$DIRECTORY/data" --exec-root "$DIRECTORY/exec" --pidfile "$DIRECTORY/pid" --host "$OURS" \
  >"$DIRECTORY/log" 2>&1 </dev/null 9>&-
for _ in $(seq 300); do
  if answers "$OURS"; then echo "$OURS"; exit 0; fi
  sleep 0.1
done
echo "the Docker engine does not come up; the end of $DIRECTORY/log:" >&2
tail -5 "$DIRECTORY/log" >&2
exit 1
