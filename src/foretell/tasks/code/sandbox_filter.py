"""The system calls that a program under test may make: what computing and a scratch folder take, and nothing else."""

from __future__ import annotations

import errno
import functools
import tempfile

from foretell.core.errors import UserError

FILES = (
    "read readv pread64 preadv write writev pwrite64 pwritev close lseek dup dup2 dup3 fcntl pipe pipe2 "
    "select pselect6 poll ppoll open openat stat fstat lstat newfstatat statx access faccessat faccessat2 "
    "getcwd chdir fchdir getdents getdents64 mkdir mkdirat rmdir unlink unlinkat rename renameat renameat2 "
    "truncate ftruncate fsync fdatasync umask readlink readlinkat symlink symlinkat utimensat"
)
MEMORY = "mmap mprotect munmap mremap brk madvise"
SIGNALS_AND_TIME = (
    "rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack alarm setitimer getitimer pause restart_syscall "
    "nanosleep clock_nanosleep clock_gettime clock_getres gettimeofday time times sched_yield sched_getaffinity"
)
ITSELF = (
    "getpid getppid gettid getuid geteuid getgid getegid getgroups getpgrp getrusage getrlimit getrandom uname "
    "sysinfo futex futex_waitv set_robust_list rseq set_tid_address exit exit_group"
)
CLONE_THREAD, CLONE_ANY_NEW = 0x00010000, 0x7E020080


@functools.cache
def filter_program() -> bytes:
    """The filter as an array of ``struct sock_filter`` for this machine's architecture.

    Every call that is not allowed fails with EPERM; clone3 fails with ENOSYS, upon which the C library makes threads
    by clone, whose flags a filter can read. A call of another architecture's table ends the process.

    Raises:
        UserError: where libseccomp is missing.
    """
    try:
        import pyseccomp
    except (ImportError, RuntimeError) as error:
        raise UserError(
            f"libseccomp cannot be loaded ({error}); install the system's libseccomp2 and pip's pyseccomp."
        ) from error
    rules = pyseccomp.SyscallFilter(pyseccomp.ERRNO(errno.EPERM))
    for name in " ".join((FILES, MEMORY, SIGNALS_AND_TIME, ITSELF)).split():
        try:
            rules.add_rule(pyseccomp.ALLOW, name)
        except (OSError, ValueError):
            continue  # this architecture or library does not know it, so it stays forbidden
    rules.add_rule(pyseccomp.ERRNO(errno.ENOSYS), "clone3")
    # Threads of this process, never a process, never a namespace.
    mask = CLONE_THREAD | CLONE_ANY_NEW
    rules.add_rule(pyseccomp.ALLOW, "clone", pyseccomp.Arg(0, pyseccomp.MASKED_EQ, mask, CLONE_THREAD))
    # The program is process 1 of its namespace and may signal itself alone: abort() does.
    rules.add_rule(pyseccomp.ALLOW, "tgkill", pyseccomp.Arg(0, pyseccomp.EQ, 1))
    # Limits can be read (no new limit is given), not set.
    rules.add_rule(pyseccomp.ALLOW, "prlimit64", pyseccomp.Arg(0, pyseccomp.EQ, 0), pyseccomp.Arg(2, pyseccomp.EQ, 0))
    # What opening and asking after a terminal take: FIOCLEX, FIONCLEX, TCGETS, TIOCGWINSZ.
    for request in (0x5451, 0x5450, 0x5401, 0x5413):
        rules.add_rule(pyseccomp.ALLOW, "ioctl", pyseccomp.Arg(1, pyseccomp.EQ, request))
    with tempfile.TemporaryFile() as file:
        rules.export_bpf(file)
        file.seek(0)
        return file.read()
