{
  "targets": [
    {
      "target_name": "weft",
      "sources": ["<!@(ls netlink/native/*.cc)"],
      "include_dirs": ["<!@(node -p \"require('node-addon-api').include\")"],
      "defines": [
        "NAPI_VERSION=8",
        "NODE_ADDON_API_DISABLE_DEPRECATED",
        "NODE_ADDON_API_CPP_EXCEPTIONS",
        # A worker thread that is terminated cannot take an exception any more.
        "NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS"
      ],
      "cflags_cc": ["-std=c++17", "-O2", "-Wall", "-Wextra", "-fexceptions"],
      "cflags_cc!": ["-fno-exceptions"],
      "libraries": ["-pthread"]
    },
    {
      # Makes filters of system calls: the default one at build time, those of bundles for weft-oci, where it stands beside it.
      "target_name": "weft-seccomp",
      "type": "executable",
      "sources": ["scripts/seccomp/compile.cc"],
      "cflags_cc": ["-std=c++17", "-O2", "-Wall", "-Wextra"],
      "ldflags": ["-static", "-s"],
      "libraries": ["-lseccomp"]
    },
    {
      "target_name": "weft-launcher",
      "type": "executable",
      "sources": ["<!@(ls bin/launcher/*.cc)"],
      # musl where Debian's musl-dev is: the C library's own start costs half a millisecond less. glibc's asks the processor for its
      # features, dozens of times, and a virtual machine leaves the guest for each.
      "variables": { "musl": "<!(ls /usr/lib/$(uname -m)-linux-musl/crt1.o 2>/dev/null | xargs -r dirname)" },
      "defines": ["WEFT_NODE_PATH=\"<!(node -p process.execPath)\""],
      "cflags_cc": ["-std=c++17", "-Os", "-Wall", "-Wextra", "-fno-exceptions", "-fno-rtti"],
      # One segment for headers, code and constants: a mapping less to make, and a page fault less to take.
      "conditions": [
        [
          "musl != ''",
          {
            "cflags_cc": ["-nostdinc", "-isystem", "<!(echo /usr/include/$(uname -m)-linux-musl)"],
            "ldflags": ["-static", "-s", "-nostdlib", "-nostartfiles", "-no-pie", "-Wl,-z,noseparate-code", "<(musl)/crt1.o", "<(musl)/crti.o", "-L<(musl)"],
            "libraries": ["-lc", "-lgcc", "<(musl)/crtn.o"]
          },
          { "ldflags": ["-static", "-s"] }
        ]
      ]
    },
    {
      "target_name": "weft-monitor",
      "type": "executable",
      "sources": ["<!@(ls runtime/native/*.cc)"],
      # As the launcher: its start is part of every `weft run`, its memory of every container.
      "variables": { "musl": "<!(ls /usr/lib/$(uname -m)-linux-musl/crt1.o 2>/dev/null | xargs -r dirname)" },
      "cflags_cc": ["-std=c++17", "-Os", "-Wall", "-Wextra", "-fno-exceptions", "-fno-rtti"],
      "conditions": [
        [
          "musl != ''",
          {
            "cflags_cc": ["-nostdinc", "-isystem", "<!(echo /usr/include/$(uname -m)-linux-musl)"],
            "ldflags": ["-static", "-s", "-nostdlib", "-nostartfiles", "-no-pie", "<(musl)/crt1.o", "<(musl)/crti.o", "-L<(musl)"],
            "libraries": ["-lc", "-lgcc", "<(musl)/crtn.o"]
          },
          { "ldflags": ["-static", "-s"] }
        ]
      ]
    }
  ]
}
