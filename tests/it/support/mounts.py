"""Runs a command beside file systems that have lost their server, as a network mount does.

    unshare -rm python3 mounts.py FOLDER SIZE COMMAND...

While the command runs, there are three of them in FOLDER, made with FUSE:

    silent   never answers
    stalled  has a video `a.mp4` of SIZE bytes, and answers until a quarter of it has been read
    gone     refuses everything

The exit code is that of the command, or 77 if this machine allows no such mounts.
"""

import ctypes
import os
import struct
import subprocess
import sys
import threading

HEAD = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom"

# The kinds of request in the protocol of FUSE, <linux/fuse.h>.
LOOKUP, FORGET, GETATTR, OPEN, READ, INIT, BATCH_FORGET = 1, 2, 3, 14, 15, 26, 42
NOT_IMPLEMENTED = -38
# The root of a file system has this number, and the video the next.
ROOT, VIDEO = 1, 2
# So many seconds the kernel may keep what it has been told.
VALID = 600


def mount(folder):
    """Mounts a file system. Returns where its requests are read and answered."""
    os.mkdir(folder)
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0"
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"postretry", folder.encode(), b"fuse", 0, options.encode()) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return device


def attributes(node, size):
    mode = 0o40755 if node == ROOT else 0o100644
    return struct.pack("<6Q10I", node, size, 0, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)


def serve(device, size):
    """Answers until a quarter of the video has been read. Later requests stay unread, so that a process that waits for
    one can still be killed."""
    video = (HEAD + bytes(size))[:size]
    left = size // 4
    while left > 0:
        request = os.read(device, 1 << 20)
        _, kind, number, node = struct.unpack_from("<IIQQ", request)
        body, error = b"", 0
        if kind in (FORGET, BATCH_FORGET):
            continue
        if kind == INIT:
            body = struct.pack("<4I2H2I2H8I", 7, 31, 0, 0, 0, 0, 1 << 16, 1, 0, 0, *[0] * 8)
        elif kind == LOOKUP:
            body = struct.pack("<4Q2I", VIDEO, 0, VALID, VALID, 0, 0) + attributes(VIDEO, size)
        elif kind == GETATTR:
            body = struct.pack("<Q2I", VALID, 0, 0) + attributes(node, size)
        elif kind == OPEN:
            # Direct: the kernel reads no more than it is asked for.
            body = struct.pack("<Q2I", 0, 1, 0)
        elif kind == READ:
            _, offset, length = struct.unpack_from("<QQI", request, 40)
            body = video[offset : offset + length]
            left -= len(body)
        else:
            error = NOT_IMPLEMENTED
        os.write(device, struct.pack("<IiQ", 16 + len(body), error, number) + body)


def main():
    folder, size, command = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
    try:
        mount(f"{folder}/silent")
        stalled = mount(f"{folder}/stalled")
        gone = mount(f"{folder}/gone")
    except OSError as error:
        print(f"cannot make a mount: {error}", file=sys.stderr)
        sys.exit(77)
    os.close(gone)
    threading.Thread(target=serve, args=(stalled, size), daemon=True).start()
    sys.exit(subprocess.call(command))


main()
