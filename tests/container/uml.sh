#!/bin/bash
# uml.sh SCRIPT   runs SCRIPT as root below a kernel of its own (User Mode Linux), which has cgroup v2 with all its
# controllers, whatever this machine has. Its files are this machine's, read-only, but for the working directory. The
# environment variables UML_* are passed on. Ends as the script does. One CPU, and a fork takes some 30 ms.
set -u
script=$(readlink -f "${1:?usage: uml.sh SCRIPT}")
"$(dirname "$(readlink -f "$0")")/../common/install.sh" linux.uml:user-mode-linux ip:iproute2 || exit
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/init" <<INIT
#!/bin/bash
export PATH=$PATH HOME=/root $(env | grep '^UML_' | tr '\n' ' ')
mount -t proc p /proc
mount -t sysfs s /sys
mount -t cgroup2 c /sys/fs/cgroup
mount -t tmpfs t /run
mount -t hostfs -o $work h /mnt
ip link set lo up
echo '+cpu +memory +pids' >/sys/fs/cgroup/cgroup.subtree_control
cd /mnt
bash $script >/mnt/out 2>&1
echo \$? >/mnt/code
sync
echo o >/proc/sysrq-trigger
sleep 9
INIT
chmod +x "$work/init"
timeout 120 linux.uml mem=512M root=/dev/root rootfstype=hostfs rootflags=/ ro init="$work/init" \
  con=null con0=null quiet </dev/null >"$work/console" 2>&1
cat "$work/out"
code=$(cat "$work/code" 2>/dev/null) || { tail -20 "$work/console"; code=125; }
exit "$code"
