"""A file system of its own, where bubblewrap is absent: an empty one in which a few folders appear, read-only.

The steps are bubblewrap's (bubblewrap.c, ``setup_newroot``): the old root is kept aside while folders are bound into
the new one, and let go at the end.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from . import kernel

LOCKED = {os.ST_NOSUID: kernel.MS_NOSUID, os.ST_NODEV: kernel.MS_NODEV, os.ST_NOEXEC: kernel.MS_NOEXEC}
RELATIVE_TIMES, NO_TIMES, NO_FOLDER_TIMES = 1 << 21, 1 << 10, 1 << 11


def enter(view: dict[str, Any], rooted: bool) -> None:
    """Leave the machine's file system, processes, network, IPC and names behind; returns in a new first process.

    Args:
        view: ``folders`` (or files) to show read-only, ``hidden`` ones to cover, ``links`` from name to target.
        rooted: whether the caller is a root who needs no user namespace for this.

    Raises:
        OSError: where the kernel refuses a step.
    """
    if not rooted:
        kernel.enter_user_namespace()
    flags = kernel.CLONE_NEWNS | kernel.CLONE_NEWPID | kernel.CLONE_NEWNET | kernel.CLONE_NEWIPC
    kernel.unshare(flags | kernel.CLONE_NEWUTS | kernel.CLONE_NEWCGROUP)
    child = os.fork()
    if child:
        os.closerange(3, 256)
        _, status = os.waitpid(child, 0)
        os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
    kernel.die_with_parent()
    kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    kernel.mount("base", "/tmp", "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "mode=755")
    for name in ("new", "old"):
        Path("/tmp", name).mkdir()
    kernel.call("syscall", _pivot_root(), b"/tmp", b"/tmp/old")
    os.chdir("/")
    kernel.mount("root", "/new", "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "mode=755")
    _fill(view)
    os.chdir("/new")
    kernel.call("syscall", _pivot_root(), b".", b".")
    kernel.call("umount2", b".", kernel.MNT_DETACH)
    os.chdir("/")
    kernel.mount(
        "none", "/", None, kernel.MS_REMOUNT | kernel.MS_BIND | kernel.MS_RDONLY | kernel.MS_NOSUID | kernel.MS_NODEV
    )


def _fill(view: dict[str, Any]) -> None:
    for name, target in view["links"].items():
        os.symlink(target, "/new" + name)  # noqa: PTH211
    for folder in view["folders"]:
        place = Path("/new" + folder)
        if Path("/old" + folder).is_dir():
            place.mkdir(parents=True, exist_ok=True)
        else:  # a file: the interpreter
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch()
        kernel.mount("/old" + folder, str(place), None, kernel.MS_BIND | kernel.MS_REC)
        flags = kernel.MS_REMOUNT | kernel.MS_BIND | kernel.MS_RDONLY | kernel.MS_NOSUID | kernel.MS_NODEV
        kernel.mount("none", str(place), None, flags | _inherited(str(place)))
    for folder in view["hidden"]:
        kernel.mount("empty", "/new" + folder, "tmpfs", kernel.MS_RDONLY, "size=4k,nr_inodes=2")
    for name in ("tmp", "proc"):
        Path("/new", name).mkdir()
    kernel.mount("proc", "/new/proc", "proc", kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC)


def _inherited(place: str) -> int:
    """Flags of a mount that a user namespace may not clear."""
    flags = os.statvfs(place).f_flag
    kept = sum(mine for theirs, mine in LOCKED.items() if flags & theirs)
    if flags & os.ST_RELATIME:
        kept |= RELATIVE_TIMES
    if flags & os.ST_NOATIME:
        kept |= NO_TIMES
    if flags & os.ST_NODIRATIME:
        kept |= NO_FOLDER_TIMES
    return kept


def _pivot_root() -> int:
    """pivot_root's number, which the C library does not wrap."""
    return {"x86_64": 155, "aarch64": 41}[os.uname().machine]
