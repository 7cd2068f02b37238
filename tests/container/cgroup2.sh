#!/bin/bash
# Runs inside User Mode Linux: allcores below real limits of cgroup v2. UML_ALLCORES and UML_APP name the programs.
set -eu
root=/sys/fs/cgroup

group() { # NAME CPU_MAX MEMORY_MAX
  mkdir "$root/$1"
  echo "$2" >"$root/$1/cpu.max"
  echo "$3" >"$root/$1/memory.max"
}
enter() { echo "$BASHPID" >"$root/$1/cgroup.procs"; }
# In a name space of its own, which is what a container has: the group is the root of what can be seen.
contained() {
  exec unshare --cgroup --mount --pid --fork --mount-proc \
    bash -c "cd /; umount -l $root; mount -t cgroup2 c $root; exec \"\$@\"" bash "$@"
}
wait_for() { # FILE WORDS
  for _ in $(seq 300); do
    if grep -q "$2" "$1"; then return; fi
    sleep 0.1
  done
  echo "no '$2' in:"; cat "$1"; exit 1
}

group outer '50000 100000' max
echo '+cpu +memory' >"$root/outer/cgroup.subtree_control"
group outer/inner 'max 100000' max
group box '70000 100000' 64M
group free 'max 100000' max

echo '== a limit of the group above'
(enter outer/inner; "$UML_ALLCORES" --check -l 127.0.0.1:9000 -- true)
echo '== a limit of our own group, which is the root that we see'
(enter box; contained "$UML_ALLCORES" --check -l 127.0.0.1:9000 -- true)
echo '== no limit'
(enter free; contained "$UML_ALLCORES" --check -l 127.0.0.1:9000 -- true)

echo '== what is read'
(
  enter box
  echo 1 >"$root/box/memory.oom.group"
  # The worker is throttled, and we are in the group that it is throttled in.
  contained "$UML_ALLCORES" --http 127.0.0.1:9180 -- \
    bash -c 'end=$((SECONDS + 3)); while [ $SECONDS -lt $end ]; do :; done; exec sleep 1000' >log 2>&1 &
  wait_for log 'memory.oom.group is set'
  sleep 4
  # In the network that is everybody's here.
  exec 3<>/dev/tcp/127.0.0.1/9180
  printf 'GET /metrics HTTP/1.0\r\n\r\n' >&3
  grep -E '^allcores_(cores|memory_limit_bytes|oom_kills_total|cpu_throttled_seconds_total|worker_)' <&3
  kill -TERM "$(pgrep -P $!)"
  wait $! || true
  cat log
)
echo 0 >"$root/box/memory.oom.group"

echo '== out of memory'
(
  enter box
  # The worker's shell reads the variables, not this one.
  # shellcheck disable=SC2016
  contained "$UML_ALLCORES" -n 2 --first-port 9000 -- \
    sh -c '[ $ALLCORES_WORKER = 1 ] && exec "$UML_APP" eat; exec sleep 1000' >log 2>&1 &
  wait_for log 'worker died worker=1 .*cause=oom'
  wait_for log 'worker ready worker=3 '
  # What runs in the background is unshare, and its child is PID 1 of the new name space.
  kill -TERM "$(pgrep -P $!)"
  code=0
  wait $! || code=$?
  cat log
  echo "code $code"
)
