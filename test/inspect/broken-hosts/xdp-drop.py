"""`xdp-drop.py LINK` puts an XDP program on a link that drops all that comes in; `xdp-drop.py LINK off` takes it away."""
import ctypes
import os
import socket
import struct
import sys

BPF = {'x86_64': 321, 'aarch64': 280}[os.uname().machine]
BPF_PROG_LOAD, BPF_PROG_TYPE_XDP = 5, 6
RTM_SETLINK, IFLA_XDP, IFLA_XDP_FD, IFLA_XDP_FLAGS, XDP_FLAGS_SKB_MODE = 19, 43, 1, 3, 2


def load():
    # r0 = XDP_DROP; exit
    program = ctypes.create_string_buffer(bytes([0xB7, 0, 0, 0, 1, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0]))
    licence = ctypes.create_string_buffer(b'GPL')
    fields = struct.pack('=IIQQ', BPF_PROG_TYPE_XDP, 2, ctypes.addressof(program), ctypes.addressof(licence))
    attributes = ctypes.create_string_buffer(fields.ljust(128, b'\0'))
    descriptor = ctypes.CDLL(None, use_errno=True).syscall(BPF, BPF_PROG_LOAD, attributes, 128)
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), 'bpf')
    return descriptor


def attach(link, descriptor):
    inside = struct.pack('=HHi', 8, IFLA_XDP_FD, descriptor) + struct.pack('=HHI', 8, IFLA_XDP_FLAGS, XDP_FLAGS_SKB_MODE)
    body = struct.pack('=BBHiII', 0, 0, 0, socket.if_nametoindex(link), 0, 0)
    body += struct.pack('=HH', 4 + len(inside), IFLA_XDP | 0x8000) + inside
    kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    kernel.send(struct.pack('=IHHII', 16 + len(body), RTM_SETLINK, 5, 1, 0) + body)
    (error,) = struct.unpack('=i', kernel.recv(4096)[16:20])
    if error:
        raise OSError(-error, os.strerror(-error))


attach(sys.argv[1], -1 if sys.argv[2:] else load())
