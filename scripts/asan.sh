#!/bin/sh
# Runs the tests of netlink/, and of inspect/observe, which uses its sockets and tracing, with the native core built under
# AddressSanitizer and UndefinedBehaviorSanitizer.
# Works on a copy, so that the ordinary build stays as it is. Needs root, g++ with libasan, and `npm ci` done.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT

mkdir "$copy/test"
# With all that the tests import.
for folder in netlink cni plan firewall ipam plugins cluster runtime agent inspect cli; do
  cp -r "$root/$folder" "$copy/$folder"
done
cp -r "$root/test/netlink" "$root/test/inspect" "$root/test/support" "$copy/test"
cp "$root/package.json" "$root/tsconfig.json" "$copy"
ln -s "$root/node_modules" "$copy/node_modules"

node_root=$(dirname "$(dirname "$(readlink -f "$(command -v node)")")")
headers=${NODE_HEADERS:-$node_root/include/node}
napi=$(cd "$root" && node -p 'require("node-addon-api").include_dir')

echo "building $copy/netlink/weft-core.node"
g++ -std=c++17 -g -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined \
  -fPIC -shared -pthread -DNAPI_VERSION=8 -DNODE_ADDON_API_DISABLE_DEPRECATED -DNODE_ADDON_API_CPP_EXCEPTIONS \
  -DNODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS -DNODE_GYP_MODULE_NAME=weft -DBUILDING_NODE_EXTENSION \
  -I"$headers" -I"$root/$napi" -I"$napi" -o "$copy/netlink/weft-core.node" "$copy"/netlink/native/*.cc

# Node itself leaks by design at exit, so only errors count.
export ASAN_OPTIONS=detect_leaks=0:abort_on_error=1:halt_on_error=1
export UBSAN_OPTIONS=print_stacktrace=1
preload=$(g++ -print-file-name=libasan.so)

cd "$copy"
status=0
for test in ${*:-test/netlink/*.test.ts test/inspect/observe*.test.ts}; do
  if LD_PRELOAD=$preload TAP_TIMEOUT=300 node --import=tsx "$test" >"$copy/log" 2>&1; then
    echo "ok      $test ($(grep -c '^ *ok ' "$copy/log") assertions)"
  else
    echo "FAILED  $test"
    grep -E '^ *not ok|ERROR: AddressSanitizer|runtime error' "$copy/log" || true
    tail -40 "$copy/log"
    status=1
  fi
done
exit $status
