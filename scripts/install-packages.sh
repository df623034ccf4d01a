#!/usr/bin/env bash
# Installs the Debian packages that one purpose needs and that are missing. Quick, and without network, when all are there.
#   build  compile the native part
#   demo   build, and what `weft demo` runs
#   test   demo, and what the tests run: tools to look at a network with, other people's plugins, runtimes and libraries
#   machine  test machines: qemu, and what makes an initramfs
#   bench  demo, the plugins that are compared with, and what traces
set -euo pipefail

# libseccomp and the profile of containers-common: the filter of system calls for containers.
build=(g++ make python3 musl-dev libseccomp-dev golang-github-containers-common)
demo=("${build[@]}" iproute2 iptables nftables iputils-ping tcpdump iperf3)
# shellcheck disable=SC2034 # read by name below
test=("${demo[@]}" ipset conntrack strace jq procps bird2
  containernetworking-plugins golang-go golang-github-appc-cni-dev
  containerd runc podman conmon busybox-static skopeo umoci etcd-server etcd-client openssl systemd dbus firewalld dnsmasq-base udhcpd lxcfs passt slirp4netns)
# shellcheck disable=SC2034
bench=("${demo[@]}" containernetworking-plugins ipset bpftrace runc crun busybox-static)
# shellcheck disable=SC2034
machine=(qemu-system-x86 kmod busybox-static e2fsprogs apparmor curl jq)

case "${1-}" in
build | demo | test | bench | machine) declare -n wanted=$1 ;;
*)
  echo "usage: ${0##*/} build|demo|test|bench|machine" >&2
  exit 2
  ;;
esac

missing=()
installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "${wanted[@]}" 2>/dev/null || true)
for package in "${wanted[@]}"; do
  grep -qxF "installed $package" <<<"$installed" || missing+=("$package")
done
((${#missing[@]})) || exit 0

if ((EUID != 0)); then
  echo "these packages are missing, and only root can install them: ${missing[*]}" >&2
  exit 1
fi
echo "installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
install() { apt-get install -y -qq --no-install-recommends "${missing[@]}" >"$log" 2>&1; }
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# The package lists of a fresh machine are empty or old: fetched only when it does not go without.
install || { apt-get update -qq && install; } || {
  cat "$log" >&2
  exit 1
}
