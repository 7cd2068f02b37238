#!/bin/bash
# podman.sh COMMAND…   runs COMMAND in the working directory with a podman of its own, which keeps all that it has there, and in
# name spaces of its own for network and mounts, which no other sees. Installs podman where it is missing.
set -eu
"$(dirname "$(readlink -f "$0")")/../common/install.sh" podman:podman runc:runc conmon:conmon /usr/bin/catatonit:catatonit \
  /usr/lib/podman/netavark:netavark iptables:iptables ip:iproute2 curl:curl
# crun refuses a machine with both versions of cgroups, and the usual limits are more than some machines may give.
cat >containers.conf <<CONF
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
[containers]
log_driver = "k8s-file"
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
[network]
network_backend = "netavark"
network_config_dir = "$PWD/networks"
CONF
printf '[storage]\ndriver = "overlay"\nrunroot = "%s/run"\ngraphroot = "%s/graph"\n' "$PWD" "$PWD" >storage.conf
export CONTAINERS_CONF=$PWD/containers.conf CONTAINERS_STORAGE_CONF=$PWD/storage.conf
# The rest of what podman writes would go to /run, and its locks to /dev/shm.
exec unshare --net --mount \
  bash -c 'mount -t tmpfs t /run && mount -t tmpfs t /dev/shm && ip link set lo up && exec "$@"' bash "$@"
