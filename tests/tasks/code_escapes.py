"""Programs that try to get out, to do harm, or to pass without being right; each prints what it achieved.

A program that is held prints ``HELD`` at most; it must never print ``ESCAPED``. ``{port}``, ``{pid}``, ``{marker}``,
``{secret}`` and ``{mapped}`` are the port of a listening server, the parent's process id, a file outside, an
environment variable's value and the address of that value in the parent's memory.
"""

SYSCALL = """
import ctypes, os, platform
libc = ctypes.CDLL(None, use_errno=True)
ARM = platform.machine() == "aarch64"
def syscall(x86, arm, *arguments):
    number = arm if ARM else x86
    ctypes.set_errno(0)
    found = libc.syscall(ctypes.c_long(number), *[a if isinstance(a, bytes) else ctypes.c_long(a) for a in arguments])
    print("result", found, os.strerror(ctypes.get_errno()))
    return found
"""


def by_syscall(x86: int, arm: int, *arguments: object) -> str:
    """A program that escapes where a system call succeeds."""
    given = "".join(f", {argument!r}" for argument in arguments)
    return SYSCALL + f"print('ESCAPED' if syscall({x86}, {arm}{given}) >= 0 else 'HELD')\n"


def attempt(code: str) -> str:
    """A program that escapes unless ``code`` raises."""
    body = "".join(f"    {line}\n" for line in code.strip().splitlines())
    return f"try:\n{body}except Exception as error:\n    print('HELD', repr(error))\nelse:\n    print('ESCAPED')\n"


PROGRAMS = {
    # processes
    "fork": attempt("import os\nos.fork() or os._exit(0)"),
    "fork bomb": "import os\nmade = 0\nfor _ in range(2000):\n    try:\n        os.fork()\n        made += 1\n"
    "    except OSError:\n        pass\nprint('ESCAPED' if made else 'HELD')",
    "vfork by ctypes": by_syscall(58, -1),
    "clone by ctypes": by_syscall(56, 220, 17, 0, 0, 0, 0),
    "clone3 by ctypes": by_syscall(435, 435, bytes(88), 88),
    "thread that is a namespace": by_syscall(56, 220, 0x10000 | 0x20000000, 0, 0, 0, 0),
    "subprocess": attempt("import subprocess\nsubprocess.run(['/bin/sh', '-c', 'true'], check=True)"),
    "os.system": "import os\nprint('ESCAPED' if os.system('true') == 0 else 'HELD')",
    "exec": attempt("import os, sys\nos.execv(sys.executable, [sys.executable, '-c', 'print(\"ESCAPED\")'])"),
    "posix_spawn": attempt("import os, sys\nos.posix_spawn(sys.executable, [sys.executable, '-V'], {{}})"),
    "multiprocessing": attempt(
        "import multiprocessing\nchild = multiprocessing.Process(target=print)\nchild.start()\nchild.join()"
    ),
    "daemon by setsid": attempt("import os\nos.setsid()"),
    "threads without end": "import threading, time\ncount = 0\ntry:\n    for _ in range(5000):\n"
    "        threading.Thread(target=time.sleep, args=(30,), daemon=True).start()\n        count += 1\n"
    "except RuntimeError:\n    pass\nprint('ESCAPED' if count > 100 else 'HELD')",
    # signals and other processes
    "signal to the parent": attempt("import os\nos.kill({pid}, 0)"),
    "signal to everyone": attempt("import os\nos.kill(-1, 9)"),
    "signal to the group": attempt("import os\nos.killpg(0, 9)"),
    "tgkill of the parent": by_syscall(234, 131, "{pid}", "{pid}", 9).replace("'{pid}'", "{pid}"),
    "pidfd of the parent": by_syscall(434, 434, "{pid}", 0).replace("'{pid}'", "{pid}"),
    "ptrace of the parent": by_syscall(101, 117, 16, "{pid}", 0, 0).replace("'{pid}'", "{pid}"),
    "process_vm_readv": SYSCALL + "import struct\nbuffer = ctypes.create_string_buffer(64)\n"
    "local = struct.pack('PP', ctypes.addressof(buffer), 64)\nremote = struct.pack('PP', {mapped}, 64)\n"
    "print('ESCAPED' if syscall(310, 270, {pid}, local, 1, remote, 1, 0) > 0 else 'HELD')",
    "/proc of the parent": attempt("open('/proc/{pid}/environ', 'rb').read()"),
    "/proc of itself": attempt("open('/proc/self/maps').read()"),
    "/proc mem of process 1": attempt("open('/proc/1/mem', 'rb').read(1)"),
    "priority": attempt("import os\nos.setpriority(os.PRIO_PROCESS, 0, -5)"),
    # files
    "reading a file outside": attempt("open({marker!r}).read()"),
    "reading /etc/passwd": attempt("open('/etc/passwd').read()"),
    "listing the root": attempt("import os\nos.listdir('/')"),
    "listing homes": attempt("import os\nfor name in ('/root', '/home', '/work'):\n    os.listdir(name)"),
    "writing outside": attempt("open('/escaped', 'w').write('x')"),
    "writing into the library": attempt("import os\nopen(os.__file__, 'a').write('x')"),
    "writing into the interpreter": attempt("import sys\nopen(sys.executable, 'r+b').write(b'x')"),
    "symbolic link": attempt("import os\nos.symlink({marker!r}, '/tmp/link')\nopen('/tmp/link').read()"),
    "symbolic link to the root": attempt("import os\nos.symlink('/', '/tmp/root')\nos.listdir('/tmp/root/')"),
    "walking up": attempt("import os\nos.chdir('/tmp')\nos.listdir('../../..')"),
    "hard link": attempt("import os\nos.link(os.__file__, '/tmp/os.py')"),
    "open_by_handle_at": by_syscall(304, 265, -100, bytes(128), 0),
    "device null": attempt("open('/dev/null').read()"),
    "device memory": attempt("open('/dev/mem', 'rb').read(1)"),
    "device disk": attempt("open('/dev/vda', 'rb').read(1)"),
    "making a device": attempt("import os\nos.mknod('/tmp/disk', 0o060600, os.makedev(8, 0))"),
    "making a FIFO": attempt("import os\nos.mkfifo('/tmp/fifo')"),
    "system's settings": attempt("open('/proc/sys/kernel/hostname').read()\nopen('/sys/kernel/mm/ksm/run').read()"),
    "executing a written file": attempt(
        "import os\nopen('/tmp/run', 'w').write('#!/bin/sh\\n')\n"
        "os.chmod('/tmp/run', 0o700)\nos.execv('/tmp/run', ['run'])"
    ),
    "shared memory": attempt(
        "from multiprocessing import shared_memory\nshared_memory.SharedMemory(create=True, size=16)"
    ),
    "System V shared memory": by_syscall(29, 194, 0, 4096, 0o1600),
    "message queue": by_syscall(68, 186, 0, 0o1600),
    "memfd": by_syscall(319, 279, b"x", 0),
    # network
    "TCP to a server outside": attempt("import socket\nsocket.create_connection(('127.0.0.1', {port}), timeout=2)"),
    "TCP by ctypes": by_syscall(41, 198, 2, 1, 0),
    "UDP": attempt("import socket\nsocket.socket(socket.AF_INET, socket.SOCK_DGRAM)"),
    "Unix socket": attempt("import socket\nsocket.socket(socket.AF_UNIX)"),
    "netlink": attempt("import socket\nsocket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)"),
    "raw socket": attempt("import socket\nsocket.socket(socket.AF_PACKET, socket.SOCK_RAW)"),
    "name resolution": attempt("import socket\nsocket.getaddrinfo('localhost', 80)\nsocket.socket()"),
    # the kernel
    "mount": by_syscall(165, 40, b"none", b"/tmp", b"tmpfs", 0, b""),
    "umount": by_syscall(166, 39, b"/proc", 2),
    "unshare": by_syscall(272, 97, 0x10000000),
    "setns": by_syscall(308, 268, 3, 0),
    "chroot": attempt("import os\nos.chroot('/tmp')"),
    "pivot_root": by_syscall(155, 41, b"/tmp", b"/tmp"),
    "keyctl": by_syscall(250, 219, 0, -3, 1),
    "add_key": by_syscall(248, 217, b"user", b"x", b"y", 1, -3),
    "io_uring": by_syscall(425, 425, 4, bytes(120)),
    "perf_event": by_syscall(298, 241, bytes(128), 0, -1, -1, 0),
    "bpf": by_syscall(321, 280, 0, bytes(64), 64),
    "userfaultfd": by_syscall(323, 282, 1),
    "setuid": attempt("import os\nos.setuid(0)\nos.seteuid(0)"),
    "prctl": by_syscall(157, 167, 38, 0, 0, 0, 0),
    "second filter": by_syscall(317, 277, 1, 0, bytes(16)),
    "module": by_syscall(313, 273, 0, b"", 0),
    "reboot": by_syscall(169, 142, 0xFEE1DEAD, 672274793, 0, 0),
    "clock": attempt("import time\ntime.clock_settime(time.CLOCK_REALTIME, 0)"),
    "host name": attempt("import socket\nsocket.sethostname('x')"),
    "32-bit calls": "import ctypes, mmap\n"
    "page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)\n"
    "page.write(bytes.fromhex('b802000000cd80c3'))  # mov eax, 2 (fork); int 0x80; ret\n"
    "address = ctypes.addressof(ctypes.c_char.from_buffer(page))\n"
    "print('ESCAPED' if ctypes.CFUNCTYPE(ctypes.c_int)(address)() >= 0 else 'HELD')",
    # limits and secrets
    "raising the limits": attempt("import resource\nresource.setrlimit(resource.RLIMIT_CPU, (1000, 1000))"),
    "environment": "import os\nprint('ESCAPED' if os.environ or {secret!r} in str(dict(os.environb)) else 'HELD')",
    "environment in memory": """import ctypes
entries = ctypes.POINTER(ctypes.c_char_p).in_dll(ctypes.CDLL(None), 'environ')
found = []
while entries and entries[len(found)]:
    found.append(entries[len(found)])
print('ESCAPED' if any({secret!r}.encode() in entry for entry in found) else 'HELD')
""",
    "inherited descriptors": """import os
found = []
for number in range(3, 2000):
    try:
        os.fstat(number)
        found.append(number)
    except OSError:
        pass
print('ESCAPED' if found else 'HELD')
""",
    "packages of the user": attempt("import numpy"),
    "another program's scratch": """import os
print('ESCAPED' if os.listdir('/tmp') else 'HELD')
open('/tmp/left', 'w').write('x')
""",
}

# Each must be stopped: the status that says by what, among those given.
BOMBS = {
    "memory": (
        """blocks = []
while True:
    blocks.append(bytearray(10_000_000))
""",
        "finished",
        "MemoryError",
    ),
    "one large object": ("text = 'x' * (8 << 30)", "finished", "MemoryError"),
    "memory by mmap": (
        """import mmap
kept = [mmap.mmap(-1, 1 << 28) for _ in range(100)]
""",
        "finished",
        "memory",
    ),
    "one large file": (
        """with open('/tmp/x', 'wb') as file:
    while True:
        file.write(bytes(1 << 20))
""",
        "finished",
        "too large",
    ),
    "many files": (
        """for number in range(100):
    with open(f'/tmp/{number}', 'wb') as file:
        file.write(bytes(1 << 20))
""",
        "finished",
        "No space",
    ),
    "many empty files": (
        """for number in range(100_000):
    open(f'/tmp/{number}', 'w').close()
""",
        "finished",
        "No space",
    ),
    "many descriptors": (
        """import os
kept = [os.open('/tmp', 0) for _ in range(1000)]
""",
        "finished",
        "Too many open files",
    ),
    "flood of output": (
        """while True:
    print('x' * 1000)
""",
        "output",
        "",
    ),
    "flood of errors": (
        """import os
while True:
    os.write(2, b'x' * 4096)
""",
        "output",
        "",
    ),
    "busy loop": (
        """while True:
    pass
""",
        "timeout",
        "",
    ),
    "sleep": (
        """import time
time.sleep(1000)
""",
        "timeout",
        "",
    ),
    "deaf to signals": (
        """import signal, time
for number in range(1, 65):
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
while True:
    try:
        time.sleep(1)
    except BaseException:
        pass
""",
        "timeout",
        "",
    ),
    "closed output, then sleep": (
        """import os, time
os.closerange(0, 3)
time.sleep(1000)
""",
        "timeout",
        "",
    ),
    "huge power": ("print(len(str(9 ** 9 ** 9)))", "timeout", ""),
    "catastrophic pattern": (
        """import re
re.match(r'(a+)+$', 'a' * 60 + 'b')
""",
        "timeout",
        "",
    ),
    "deep recursion": (
        """def f(): return f()
f()
""",
        "finished",
        "RecursionError",
    ),
    "unbounded recursion": (
        """import sys
sys.setrecursionlimit(1 << 30)
class A:
    def __repr__(self): return repr(self)
repr(A())
""",
        "died",
        "",
    ),
    "segmentation fault": (
        """import ctypes
ctypes.string_at(0)
""",
        "died",
        "",
    ),
    "abort": (
        """import os
os.abort()
""",
        "died",
        "",
    ),
    "deep syntax": (
        """try:
    eval('(' * 100_000)
except (SyntaxError, MemoryError):
    print('refused')
""",
        "finished",
        "refused",
    ),
    "threads that stay": (
        """import threading, time
threading.Thread(target=time.sleep, args=(1000,)).start()
""",
        "finished",
        "",
    ),
}
