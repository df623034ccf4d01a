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
      "target_name": "weft-launcher",
      "type": "executable",
      "sources": ["<!@(ls bin/launcher/*.cc)"],
      "defines": ["WEFT_NODE_PATH=\"<!(node -p process.execPath)\""],
      "cflags_cc": ["-std=c++17", "-Os", "-Wall", "-Wextra", "-fno-exceptions", "-fno-rtti"],
      "ldflags": ["-static", "-s"]
    }
  ]
}
