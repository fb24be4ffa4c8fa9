"""The machine a run is on: cores, its measured arithmetic limit, its energy, and the record of the environment."""

from __future__ import annotations

import ctypes
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from foretell.core.git import git_commit

# Without a counter, energy is estimated from a whole machine's typical draw under load. A laptop or two cores of a
# server take tens of watts: 15 W a core in use, 20 W for the rest. The report names this figure as an assumption.
WATTS_PER_CORE = 15.0
WATTS_BASE = 20.0

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h


def keep_freed_memory() -> None:
    """Let glibc keep what is freed for the next allocation instead of returning it to the system.

    A training step frees and allocates the same tensors again and again; fetched from the system each time, every page
    of them is faulted in and cleared anew, which on a virtual machine takes a tenth of a step. Nothing happens under
    another C library. The limits are those of mallopt(3).
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(M_MMAP_THRESHOLD, 1 << 25)  # the largest that glibc accepts
        libc.mallopt(M_TRIM_THRESHOLD, 1 << 30)


def available_cores() -> int:
    """Cores this process may use (affinity, not the machine's total)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def peak_memory() -> int | None:
    """Largest resident memory of this process so far in bytes (getrusage(2)), or ``None`` where it is not told."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest if sys.platform == "darwin" else largest * 1024


def peak_memory_of_all(processes: Sequence[int]) -> int | None:
    """Largest resident memory of several processes in bytes, what they share counted once; Linux only.

    The sum of their own peaks (VmHWM less RssShmem and RssFile of /proc/PID/status) and the largest share of each, an
    upper bound where the peaks were not at one time. What is mapped from files are libraries, the same in all.
    """
    own, shared, mapped = 0, 0, 0
    for process in processes:
        try:
            lines = Path(f"/proc/{process}/status").read_text().splitlines()
        except OSError:
            return None
        figures = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.endswith("kB")}
        own += figures["VmHWM"] - figures["RssShmem"] - figures["RssFile"]
        shared = max(shared, figures["RssShmem"])
        mapped = max(mapped, figures["RssFile"])
    return own + shared + mapped


def default_device() -> torch.device:
    """``cuda`` where there is one, else ``cpu``."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def matmul_peak(device: torch.device, dtype: torch.dtype = torch.float32, size: int = 2048, repeats: int = 7) -> float:
    """Measured rate of ``size`` x ``size`` matrix products in FLOP/s (median); the limit that shares are quoted of."""
    if device.type == "cuda":
        size = max(size, 8192)
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    times = []
    for _ in range(repeats + 2):
        if device.type == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        left @ right
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return 2 * size**3 / statistics.median(times[2:])


def processor_name() -> str:
    """The processor's model name as the system gives it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def energy_counter() -> float | None:
    """Joules counted so far by the processor packages (RAPL), or ``None`` where the counter is not readable."""
    total = 0.0
    found = False
    for file in Path("/sys/class/powercap").glob("intel-rapl:[0-9]/energy_uj"):
        try:
            total += int(file.read_text()) * 1e-6
            found = True
        except (OSError, ValueError):
            return None
    return total if found else None


def estimated_watts(device: torch.device, cores: int) -> tuple[float, str]:
    """Assumed draw in watts while training, and the sentence that says where it comes from."""
    if device.type == "cuda":
        try:
            output = subprocess.run(
                ["nvidia-smi", "--query-gpu=power.limit", "--format=csv,noheader,nounits"],
                capture_output=True,
                text=True,
                timeout=10,
                check=True,
            ).stdout.split()
            return float(output[device.index or 0]), "the card's power limit as nvidia-smi states it"
        except (OSError, subprocess.SubprocessError, ValueError, IndexError):
            return 400.0, "400 W assumed for a data-centre card"
    watts = WATTS_BASE + WATTS_PER_CORE * cores
    return watts, f"assumed: {WATTS_BASE:g} W for the machine and {WATTS_PER_CORE:g} W for each of {cores} cores in use"


def environment() -> dict[str, Any]:
    """What the report prints under *environment*: versions, processor, cores, memory, accelerator, git commit."""
    import foretell

    packages = ("torch", "numpy", "scipy", "tokenizers", "safetensors", "pyarrow", "rensa")
    page = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    return {
        "foretell": foretell.__version__,
        "python": sys.version.split()[0],
        "packages": {name: metadata.version(name) for name in packages},
        "system": platform.platform(),
        "processor": processor_name(),
        "cores": available_cores(),
        "memory_bytes": page,
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "git_commit": git_commit(Path(foretell.__file__).parent, "__init__.py"),
        "git_commit_of_working_folder": git_commit(Path.cwd()),
    }
