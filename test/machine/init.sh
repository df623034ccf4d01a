#!/bin/busybox sh
# The first process of a test machine, in its initramfs: the outer machine's files, read-only by 9p, below a file system in
# memory, or on its disk, that takes every change; then systemd, or the way in alone (guest.sh). `weft.*` on the kernel's command line
# say which.
bb=/bin/busybox
$bb mount -t proc proc /proc
$bb mount -t sysfs sysfs /sys
$bb mount -t devtmpfs devtmpfs /dev
while read -r module; do $bb insmod "/lib/modules/$module"; done </lib/modules/order
value() { $bb sed -n "s/.*\bweft\.$1=\([^ ]*\).*/\1/p" /proc/cmdline; }
name=$(value name) init=$(value init) modules=$(value modules)/$($bb uname -r)
fail() { echo "the machine could not be put together: $*" >/dev/console; $bb poweroff -f; }

$bb mkdir -p /lower /memory /root
plan9=trans=virtio,version=9p2000.L,msize=1048576
$bb mount -t 9p -o "ro,cache=loose,$plan9" root /lower || fail 'no root'
if [ -b /dev/vda ]; then
  # What is written stays: the machine has a disk of its own.
  $bb mount -t ext4 /dev/vda /memory || fail 'no disk'
else
  $bb mount -t tmpfs -o mode=755 tmpfs /memory
fi
[ -d /memory/upper ] && again=yes
$bb mkdir -p /memory/upper /memory/work
$bb mount -t overlay -o lowerdir=/lower,upperdir=/memory/upper,workdir=/memory/work overlay /root || fail 'no overlay'

cd /root
for dir in run tmp var/tmp; do $bb mkdir -p $dir; $bb mount -t tmpfs -o mode=1777 tmpfs $dir; done
$bb chmod 755 run
$bb mkdir -p run/machine run/lock lib/modules boot dev proc sys
$bb mount -t 9p -o "cache=none,$plan9" exchange run/machine || fail 'no way out'
$bb mkdir -p "usr/lib/modules/$($bb uname -r)"
# Their folder is part of the root file system.
$bb mount --bind "/root$modules" "usr/lib/modules/$($bb uname -r)" || fail 'no modules'
for dir in proc sys dev; do $bb mount --move /$dir $dir; done
$bb mkdir -p dev/pts dev/shm dev/mqueue
$bb mount -t devpts -o mode=600,ptmxmode=666 devpts dev/pts
$bb mount -t tmpfs tmpfs dev/shm
$bb mount -t mqueue mqueue dev/mqueue 2>/dev/null
$bb mount -t cgroup2 -o nsdelegate cgroup2 sys/fs/cgroup
$bb mount -t securityfs securityfs sys/kernel/security
$bb mount -t bpf bpf sys/fs/bpf
$bb mount -t tracefs tracefs sys/kernel/tracing
$bb ln -sf /proc/self/fd dev/fd
# Nothing of the outer machine's names and mounts.
echo "$name" >etc/hostname
$bb hostname "$name"
printf '127.0.0.1 localhost\n::1 localhost\n127.0.1.1 %s\n' "$name" >etc/hosts
$bb rm -f etc/resolv.conf etc/fstab etc/mtab
# If the outer machine is a container, this one is not.
$bb rm -f .dockerenv
$bb ln -sf ../proc/self/mounts etc/mtab
: >etc/resolv.conf
if [ -z "$again" ]; then
  # Every machine is another one.
  $bb tr -d - <proc/sys/kernel/random/uuid >etc/machine-id
  for part in lib/cni lib/containerd lib/etcd log/journal; do $bb rm -rf "var/$part"; done
fi
if [ "$init" = systemd ]; then
  # Services that this host has enabled are not the machine's: it starts the base system, and what is asked for.
  $bb cp run/machine/weft-machine.service run/machine/weft-machine.target etc/systemd/system/
  exec $bb switch_root /root /lib/systemd/systemd
fi
exec $bb switch_root /root /bin/bash run/machine/guest.sh
