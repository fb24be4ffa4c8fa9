"""Build the kernels with the machine's own C++ compiler, once for each processor and version, and load them."""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from foretell.core.files import cache_folder, sha256_bytes
from foretell.core.hardware import available_cores, processor_name
from foretell.core.progress import say
from foretell.infer.blocks import BLOCK

SOURCES = ("kernels.cpp", "attention.h", "layers.h", "linear.h", "pool.h", "vectors.h")
FLAGS = ("-O3", "-std=c++17", "-shared", "-fPIC", "-pthread", "-fno-math-errno",
         f"-DFORETELL_BLOCK={BLOCK}")  # fmt: skip
COMPILE_SECONDS = 300

_INT, _LONG, _FLOAT, _POINTER = ctypes.c_int, ctypes.c_int64, ctypes.c_float, ctypes.c_void_p


class KernelsUnavailableError(RuntimeError):
    """There is no compiler here, or it could not build the kernels; the message says which."""


def address(tensor: Tensor | None) -> int | None:
    """Where a tensor's data begin, as the kernels take it."""
    return None if tensor is None else tensor.data_ptr()


class Linear(ctypes.Structure):
    """Linear in linear.h."""

    _fields_ = [(name, ctypes.c_int32) for name in ("bits", "group", "inputs", "outputs")] + [
        (name, _POINTER) for name in ("packed", "bias")
    ]


class Batch(ctypes.Structure):
    """Batch in attention.h."""

    _fields_ = [("segments", _POINTER), ("count", _INT), ("tables", _POINTER), ("cosine", _POINTER), ("sine", _POINTER)]


class Block(ctypes.Structure):
    """Block in kernels.cpp."""

    _fields_ = (
        [(name, Linear) for name in ("qkv", "output", "gate_up", "down")]
        + [(name, _POINTER) for name in ("attention_norm", "feed_forward_norm", "query_norm", "key_norm")]
        + [(name, _FLOAT) for name in ("epsilon", "scale")]
        + [(name, ctypes.c_int32) for name in ("heads", "kv_heads", "width", "window", "full")]
    )


class Kernels:
    """The loaded library; what each function computes stands beside it in kernels.cpp.

    Attributes:
        lanes: floats of a vector; head dimensions of cached values are padded to whole ones.
        threads: that share the work.
    """

    def __init__(self, path: Path, threads: int) -> None:
        library = ctypes.CDLL(str(path))

        def function(name: str, *arguments: Any, returns: Any = None) -> Callable[..., Any]:
            found = getattr(library, f"foretell_{name}")
            found.argtypes, found.restype = arguments, returns
            return found

        self.lanes: int = function("lanes", returns=_INT)()
        self.packed_bytes = function("packed_bytes", _INT, _LONG, _LONG, _INT, returns=_LONG)
        self.pack = function("pack", _INT, _LONG, _INT, _INT, *[_POINTER] * 4)
        self.linear = function("linear", ctypes.POINTER(Linear), _LONG, _POINTER, _LONG, _POINTER)
        self.rms_norm = function("rms_norm", _LONG, _LONG, *[_POINTER] * 2, _FLOAT, _POINTER)
        self.swiglu = function("swiglu", _LONG, _LONG, *[_POINTER] * 2)
        self.attend = function(
            "attend",
            ctypes.POINTER(Batch),
            _LONG,
            *[_POINTER, _LONG] * 3,
            _INT,
            _INT,
            _INT,
            _FLOAT,
            _INT,
            *[_POINTER] * 3,
        )
        self.transform = function("transform", ctypes.POINTER(Block), ctypes.POINTER(Batch), _LONG, *[_POINTER] * 3)
        self.threads = threads
        function("start", _INT)(threads)


@functools.cache
def kernels(threads: int | None = None) -> Kernels:
    """The kernels, built on the first call of a machine (a few seconds) and kept in the user's cache folder.

    Args:
        threads: all cores when ``None``.

    Raises:
        KernelsUnavailableError: where there is no C++ compiler, or it fails.
    """
    compiler = _compiler()
    texts = [Path(__file__).with_name(name).read_bytes() for name in SOURCES]
    version = _run([compiler, "--version"]).splitlines()[:1]
    # a cache folder may be shared by machines whose processors differ
    machine = [platform.machine(), processor_name(), _processor_flags()]
    digest = sha256_bytes(b"\0".join([*texts, repr((FLAGS, compiler, version, machine)).encode()]))
    path = cache_folder() / f"kernels-{digest[:16]}.so"
    if not path.exists():
        _build(compiler, path)
    try:
        return Kernels(path, threads or available_cores())
    except (OSError, AttributeError) as error:
        raise KernelsUnavailableError(f"{path} cannot be loaded ({error})") from error


def _build(compiler: str, path: Path) -> None:
    say("building the kernels for this processor (once, a few seconds)")
    tune = "-mcpu=native" if platform.machine() in ("aarch64", "arm64") else "-march=native"
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        made = Path(folder) / "kernels.so"
        _run([compiler, *FLAGS, tune, "-o", str(made), str(Path(__file__).with_name("kernels.cpp"))])
        made.replace(path)


def _compiler() -> str:
    for name in (os.environ.get("CXX"), "g++", "clang++"):
        found = shutil.which(name) if name else None
        if found:
            return found
    raise KernelsUnavailableError("there is no C++ compiler (g++ or clang++) on the path")


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=COMPILE_SECONDS)
    except subprocess.CalledProcessError as error:
        lines = (error.stderr or "").strip().splitlines() or ["no message"]
        said = next((line for line in lines if "error:" in line), lines[-1])
        raise KernelsUnavailableError(f"{command[0]} failed: {said}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise KernelsUnavailableError(f"{command[0]} cannot be run ({error})") from error
    return done.stdout


def _processor_flags() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")
