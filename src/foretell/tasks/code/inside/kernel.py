"""The kernel's means of isolation that Python does not wrap: namespaces, mounts, capabilities, landlock, seccomp."""

from __future__ import annotations

import ctypes
import os
import resource
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x02000000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND = 0x1, 0x2, 0x4, 0x8, 0x20, 0x1000
MS_REC, MS_PRIVATE = 0x4000, 0x40000
MNT_DETACH = 2
PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_CAPBSET_DROP = 4, 22, 24
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 1, 38, 47
SECCOMP_MODE_FILTER = 2
# These three have one number on every architecture.
LANDLOCK_CREATE_RULESET, LANDLOCK_ADD_RULE, LANDLOCK_RESTRICT_SELF = 444, 445, 446

libc = ctypes.CDLL(None, use_errno=True)


def call(name: str, *arguments: int | bytes | ctypes.c_void_p | None) -> int:
    """Call a function of the C library that gives -1 on failure.

    Raises:
        OSError: with the function's name, where it fails.
    """
    converted = [ctypes.c_ulong(value) if isinstance(value, int) else value for value in arguments]
    result = int(getattr(libc, name)(*converted))
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


def unshare(flags: int) -> None:
    """Leave the namespaces that ``flags`` names for new ones (unshare(2))."""
    call("unshare", flags)


def mount(source: str, target: str, kind: str | None, flags: int, data: str = "") -> None:
    """mount(2)."""
    call("mount", source.encode(), target.encode(), kind.encode() if kind else None, flags, data.encode() or None)


def enter_user_namespace() -> None:
    """Enter a new user namespace in which this user keeps its ids and holds every capability over what it owns."""
    user, group = os.geteuid(), os.getegid()
    unshare(CLONE_NEWUSER)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")


def become(user: int) -> None:
    """Change a real root into ``user``, for which the kernel's limits on processes count.

    A root that cannot (in a container that maps too few users) is no root of the machine and stays what it is.
    """
    try:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    except OSError:
        return
    call("prctl", PR_SET_DUMPABLE, 1, 0, 0, 0)  # or its own files in /proc would still be root's


def die_with_parent() -> None:
    """Be killed when the process that started this one ends."""
    call("prctl", PR_SET_PDEATHSIG, 9, 0, 0, 0)


def drop_capabilities() -> None:
    """Give up every capability, for good: bounding and ambient sets too, and nothing executed can win them back."""
    for capability in range(64):
        try:
            call("prctl", PR_CAPBSET_DROP, capability, 0, 0, 0)
        except OSError:
            break
    call("prctl", PR_CAP_AMBIENT, 4, 0, 0, 0)
    header = struct.pack("Ii", 0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this process
    call("capset", header, bytes(24))
    call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def landlock_version() -> int:
    """The kernel's landlock ABI, 0 where it has none."""
    return max(0, int(libc.syscall(LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint(1))))


def landlock(version: int, readable: Sequence[str], writable: Sequence[str]) -> None:
    """Confine this process to reading below ``readable`` and reading and writing below ``writable`` (landlock(7)).

    From ABI 4 it can neither bind nor connect TCP ports, from ABI 6 neither signal nor reach abstract sockets outside.
    """
    handled = (1 << {1: 13, 2: 14, 3: 15, 4: 15}.get(version, 16)) - 1
    fields = [handled]
    if version >= 4:
        fields.append(3)
    if version >= 6:
        fields.append(3)
    attributes = struct.pack(f"{len(fields)}Q", *fields)
    rules = call("syscall", LANDLOCK_CREATE_RULESET, attributes, len(attributes), 0)
    read = 0b1100  # READ_FILE | READ_DIR
    # In the scratch folder: all but executing and making devices, sockets and FIFOs.
    write = handled & ~(1 << 0) & ~(1 << 6) & ~(1 << 9) & ~(1 << 10) & ~(1 << 11) & ~(1 << 15)
    for paths, access in ((readable, read), (writable, write)):
        for path in paths:
            if not os.path.exists(path):  # noqa: PTH110 (pathlib is slower, and this runs for every program)
                continue
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
            allowed = access if os.path.isdir(path) else access & 0b111  # noqa: PTH112
            rule = struct.pack("=Qi", allowed & handled, place)
            call("syscall", LANDLOCK_ADD_RULE, rules, 1, rule, 0)
            os.close(place)
    call("syscall", LANDLOCK_RESTRICT_SELF, rules, 0)
    os.close(rules)


def seccomp(program: bytes) -> None:
    """Load a seccomp filter, an array of ``struct sock_filter`` of 8 bytes each (seccomp(2))."""
    buffer = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(buffer))
    call("prctl", PR_SET_SECCOMP, SECCOMP_MODE_FILTER, header, 0, 0)


def limit(limits: Mapping[str, int]) -> None:
    """Set resource limits, soft and hard, by their names without ``RLIMIT_``; what the system lacks is passed over."""
    for name, value in limits.items():
        kind = getattr(resource, f"RLIMIT_{name}", None)
        if kind is not None:
            _, hard = resource.getrlimit(kind)
            bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(kind, (bound, bound))
