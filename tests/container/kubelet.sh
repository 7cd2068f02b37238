#!/bin/bash
# kubelet.sh PROBES [BINARY]   plays the kubelet for the pod in the working directory, with podman and a real runtime, and tells what happened.
#
#   images.tar     what the pod's containers are made of
#   pod.yaml       what helm made of the chart; its name is web
#   config         what a ConfigMap is mounted from
#   termination    what the pod has at /dev/termination-log
#
# PROBES: `http` asks the pod's port as the kubelet does, `exec` runs `BINARY ctl check` in the container.
set -eu
probes=$1
binary=${2:-}
app=web-app

say() { printf '== %s\n' "$*"; }
wait_for() { # WHAT COMMAND…
  local what=$1 deadline=$((SECONDS + 60))
  shift
  while [ $SECONDS -lt $deadline ]; do
    if "$@" >/dev/null 2>&1; then return; fi
    sleep 0.1
  done
  "$@" || echo "code $?"
  echo "in vain: $what"
  podman ps --all
  exit 1
}
field() { podman inspect --format "{{$1}}" $app; }
log_has() { podman logs $app 2>&1 | grep -q "$@"; }
ask() { curl --silent --show-error --fail --max-time 10 "http://$address:8080/"; }
# The probe's answer: what is said, and by its code, yes or no.
probe() { # startup, ready or live
  local path=/${1}z
  case $probes in
    http) curl --silent --fail-with-body --max-time 10 "http://$address:9180$path" ;;
    exec) podman exec $app "$binary" ctl check "$1" 2>&1 ;;
  esac
}

leave() {
  local code=$?
  [ $code = 0 ] || podman logs $app || true
  podman pod rm --force --all >/dev/null 2>&1 || true
  exit $code
}
trap leave EXIT
podman load --quiet --input images.tar >/dev/null
# Health checks by podman itself need systemd, and are no part of this where there is none.
podman kube play pod.yaml 2>played >/dev/null || { cat played; exit 1; }
address=$(podman inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' \
  "$(podman pod inspect --format '{{.InfraContainerID}}' web)")

say ready
wait_for 'the pod is ready' probe ready
probe startup
probe ready
probe live

say answers
ask | grep -E '^(Uid|CapEff|NoNewPrivs|Seccomp):'
answered_by() { ask | grep '^Worker:' >>workers; [ "$(sort -u workers | wc -l)" -ge "$1" ]; }
: >workers
wait_for 'two workers answer' answered_by 2
podman logs $app 2>&1 | grep ' starting '
if [ "$probes" = exec ]; then
  wait_for 'podman finds it healthy' test "$(field .State.Health.Status)" = healthy
  say healthy
fi

say 'a worker is killed'
victim=$(podman logs $app 2>&1 | sed -n 's/.*worker ready worker=1 .* pid=\([0-9]*\) .*/\1/p')
podman exec $app kill -9 "$victim"
wait_for 'it is replaced' log_has 'worker ready worker=3 '
probe ready
echo "restarts $(field .RestartCount)"

say 'the configuration changes'
mkdir config/..2
echo '{"greeting": "hello"}' >config/..2/app.json
ln -s ..2 config/..data_tmp
mv -T config/..data_tmp config/..data
rm -r config/..1
wait_for 'all workers are replaced' log_has 'reload done'
podman logs $app 2>&1 | grep 'path changed'
podman logs $app 2>&1 | grep 'reload done'
# A slow machine takes the removal of what was there before for a second change.
ask | grep '^Generation:' | grep -v '\s1$'

say 'asked to stop'
# `podman stop` would let nobody into the container any more.
podman kill --signal TERM $app >/dev/null
leaves() { ! probe ready; }
wait_for 'it says that it leaves' leaves
probe ready || true
ask | grep '^Worker:'
podman wait $app >/dev/null

say stopped
podman logs $app 2>&1 | grep -E " (stopping|leaving) "
echo "code $(field .State.ExitCode), restarts $(field .RestartCount)"
cat termination
