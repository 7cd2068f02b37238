#!/bin/bash
# vm.sh DIRECTORY JOB   boots a whole machine with systemd, cgroup v2 and podman in an emulator, runs JOB/run.sh in it as root, with
# a copy of the folder JOB around it, and ends as that script does. The machine is made once, in DIRECTORY, of Debian's packages:
# two minutes and 1 GB. Nothing that a job does to it stays. A job begins after some 20 s, and is ten times slower than here.
set -eu
DIRECTORY=${1:?usage: vm.sh DIRECTORY JOB}
JOB=$(readlink -f "${2:?usage: vm.sh DIRECTORY JOB}")
version=$(sha256sum <"$0")
INSTALL=$(dirname "$(readlink -f "$0")")/../common/install.sh
mkdir -p "$DIRECTORY"
exec 9>"$DIRECTORY/lock"
flock 9
cd "$DIRECTORY"

make_root() {
  echo 'making a virtual machine' >&2
  rm -rf kernel root boot ./*.deb
  local package kernel
  package=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends:/ { print $2; exit }')
  apt-get -qq -o APT::Sandbox::User=root download "$package"
  dpkg -x "$package"_*.deb kernel
  cp kernel/boot/vmlinuz-* vmlinuz
  kernel=$(ls kernel/lib/modules)

  mmdebstrap --quiet --variant=minbase --mode=root \
    --include=systemd,systemd-sysv,dbus,udev,kmod,iproute2,iptables,procps,curl,podman,netavark,crun,catatonit bookworm root
  mkdir -p root/lib/modules
  cp -a "kernel/lib/modules/$kernel" root/lib/modules/
  chroot root depmod "$kernel"
  rm -f root/etc/fstab
  printf '[network]\nnetwork_backend = "netavark"\n' >root/etc/containers/containers.conf
  cat >root/etc/systemd/system/job.service <<'UNIT'
[Unit]
After=multi-user.target
[Service]
Type=oneshot
StandardOutput=file:/dev/ttyS1
StandardError=file:/dev/ttyS1
Environment=HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
ExecStart=/bin/sh -c 'mkdir -p /job; tar -C /job -xf /dev/vdb; cd /job; bash ./run.sh; echo JOB-CODE $?'
ExecStopPost=/bin/systemctl --no-block poweroff -f -f
[Install]
WantedBy=multi-user.target
UNIT
  chroot root systemctl -q enable job.service
  chroot root systemctl -q disable podman.service podman.socket
  chroot root systemctl -q mask serial-getty@ttyS0.service getty@tty1.service systemd-udev-trigger.service \
    systemd-udev-settle.service systemd-timesyncd.service apt-daily.timer apt-daily-upgrade.timer podman-restart.service \
    podman-auto-update.timer

  # What mounts the disk and hands over to systemd.
  mkdir -p boot/bin boot/proc boot/dev boot/mnt boot/modules
  cp /bin/busybox boot/bin/
  local modules=(virtio/virtio_ring virtio/virtio virtio/virtio_pci_modern_dev virtio/virtio_pci_legacy_dev virtio/virtio_pci
    block/virtio_blk)
  for module in "${modules[@]}"; do cp "kernel/lib/modules/$kernel/kernel/drivers/$module.ko" boot/modules/; done
  cat >boot/init <<'INIT'
#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc p /proc
$b mount -t devtmpfs d /dev
for m in virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci virtio_blk; do $b insmod /modules/$m.ko; done
for i in 1 2 3 4 5 6 7 8 9 10; do [ -b /dev/vda ] && break; $b sleep 0.2; done
$b mount -t ext4 /dev/vda /mnt || $b poweroff -f
$b umount /proc
exec $b switch_root /mnt /sbin/init
INIT
  chmod +x boot/init
  (cd boot && find . | cpio -o -H newc --quiet | gzip -1 >../initrd.gz)
  mkfs.ext4 -q -F -d root root.img.part 2600M >/dev/null
  mv root.img.part root.img
  rm -rf kernel root boot ./*.deb
  echo "$version" >made
}

"$INSTALL" qemu-system-x86_64:qemu-system-x86 mmdebstrap:mmdebstrap /usr/share/doc/busybox-static:busybox-static cpio:cpio \
  mkfs.ext4:e2fsprogs
# A machine that another version of this script has made may lack something.
[ "$(cat made 2>/dev/null)" = "$version" ] || make_root

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tar -C "$JOB" -cf "$work/job.tar" .
timeout 400 qemu-system-x86_64 -accel tcg,thread=multi -cpu max -m 2G -smp 2 -display none -monitor none -no-reboot -nic none \
  -kernel vmlinuz -initrd initrd.gz -append 'console=ttyS0 panic=-1 quiet mitigations=off apparmor=0' \
  -drive file=root.img,if=virtio,format=raw,snapshot=on -drive "file=$work/job.tar,if=virtio,format=raw,readonly=on" \
  -serial "file:$work/console" -serial "file:$work/out" || true
touch "$work/out"
tr -d '\r' <"$work/out" | grep -vE '^(JOB-CODE .*|Powering off\.)$' || true
code=$(tr -d '\r' <"$work/out" | awk '/^JOB-CODE / { code = $2 } END { print code == "" ? 125 : code }')
[ "$code" != 125 ] || tail -20 "$work/console" >&2
exit "$code"
