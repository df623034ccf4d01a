#!/usr/bin/env bash
# Makes what the test machine boots, once for each kernel: the vmlinuz of Debian's kernel, its modules, and an initramfs
# that puts the machine together (test/machine/init.sh). The kernel is unpacked into the folder, never installed.
#   scripts/machine-image.sh [folder]       dist/machine, if no folder is given
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${1-dist/machine}
# What the initramfs needs to reach the root file system and the way in. The other modules come from the kernel's own folder.
early=(virtio_pci virtio_mmio virtio_console virtio_net virtio-rng 9p 9pnet_virtio overlay virtio_blk ext4)

mkdir -p "$folder"
folder=$(realpath "$folder")
exec 9>"$folder/lock"
flock 9

fetch() {
  local package deb
  # linux-image-amd64 depends on the image of today's ABI.
  package=$(apt-cache depends linux-image-amd64 | awk '$1 == "Depends:" && /linux-image/ { print $2; exit }')
  if [[ -z $package ]]; then
    apt-get update -qq
    package=$(apt-cache depends linux-image-amd64 | awk '$1 == "Depends:" && /linux-image/ { print $2; exit }')
  fi
  echo "fetching $package"
  mkdir "$folder/new/deb"
  (cd "$folder/new/deb" && { apt-get download -qq "$package" || { apt-get update -qq && apt-get download -qq "$package"; }; }) 2>/dev/null
  deb=("$folder"/new/deb/*.deb)
  # A test machine has no screen, no disk and no sound.
  dpkg-deb --fsys-tarfile "${deb[0]}" | tar -x -C "$folder/new" --wildcards \
    --exclude='*/drivers/'{gpu,media,staging,infiniband,scsi,usb,iio,input,hwmon,mtd,platform,mfd,edac,ata,target,nvme,md,power,i2c,gpio,leds,mmc,isdn,accessibility,video,comedi,thunderbolt,spi,rtc,watchdog,regulator,extcon,nfc,bluetooth,memstick,firewire,message,pinctrl,w1,parport,hid,crypto} \
    --exclude='*/drivers/net/'{wireless,ethernet,usb,can,phy,wwan,ieee802154,hamradio} --exclude='*/sound' \
    './boot/vmlinuz-*' './lib/modules/*'
  mv "$folder"/new/boot/vmlinuz-* "$folder/new/vmlinuz"
  mv "$folder/new/lib/modules" "$folder/new/modules"
  rm -r "$folder/new/deb" "$folder/new/boot" "$folder/new/lib"
  # depmod wants them where they will be.
  mkdir "$folder/new/lib"
  ln -s ../modules "$folder/new/lib/modules"
  depmod -b "$folder/new" "$(ls "$folder/new/modules")"
  rm -r "$folder/new/lib"
}

if [[ ! -e $folder/kernel/vmlinuz ]]; then
  rm -rf "$folder/new"
  mkdir "$folder/new"
  fetch
  mv "$folder/new" "$folder/kernel"
fi

init=test/machine/init.sh
[[ $folder/initramfs -nt $init && $folder/initramfs -nt $0 ]] && exit 0
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir -p "$root"/{bin,proc,sys,dev,lib/modules}
cp /bin/busybox "$root/bin/"
cp "$init" "$root/init"
chmod 755 "$root/init"
release=$(ls "$folder/kernel/modules")
mkdir -p "$folder/lib"
ln -sfn ../kernel/modules "$folder/lib/modules"
# In the order in which they must be loaded, each once.
modprobe -d "$folder" -S "$release" --show-depends -a "${early[@]}" |
  awk '$1 == "insmod" && !seen[$2]++ { print $2 }' | while read -r module; do
  cp "$module" "$root/lib/modules/"
  echo "${module##*/}" >>"$root/lib/modules/order"
done
(cd "$root" && find . | busybox cpio -o -H newc 2>/dev/null) >"$folder/initramfs.new"
mv "$folder/initramfs.new" "$folder/initramfs"
