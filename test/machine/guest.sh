#!/bin/bash
# The way in, inside a test machine: numbers come by a virtio port, each names a folder of the exchange with a command; its
# output goes there while it runs, its exit status goes back by the port as `<number> <status>`.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8
ip link set lo up
for found in /sys/class/virtio-ports/*; do
  # By the kernel's name of it: without udev nobody makes links.
  [[ $(<"$found/name") == machine ]] && port=/dev/${found##*/}
done
run() {
  local folder=/run/machine/$1
  # The port stays with this shell: a daemon that the command leaves behind must not hold it.
  timeout -k 1 "$(<"$folder/seconds")" bash "$folder/command" \
    <"$folder/stdin" >>"$folder/stdout" 2>>"$folder/stderr" 3>&-
  echo "$1 $?" >&3
}
exec 3<>"$port"
echo 'up 0' >&3
while read -r number <&3; do run "$number" & done
