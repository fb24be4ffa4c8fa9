"""How a run is executed: device, threads, compilation. Chosen once, recorded, and kept by every resume."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import torch

from foretell.core.config import Settings, build
from foretell.core.errors import UserError
from foretell.core.files import read_json, write_json
from foretell.core.hardware import available_cores, default_device
from foretell.model.config import count_parameters
from foretell.train.config import RunSettings

# Compiling takes half a minute; below this many seconds of expected training it does not pay.
COMPILE_PAYS_SECONDS = 240.0
ASSUMED_FLOPS_PER_SECOND_AND_CORE = 4e10
SHARED_MEMORY = Path("/dev/shm")
SHARED_MEMORY_RESERVE = 1.2


class Execution(Settings):
    """The choices that the bits of a result depend on, besides its settings."""

    device: str
    threads: int  # of each replica
    replicas: int  # processes that share a batch; 1 on a GPU
    compiled: bool
    torch: str


def has_compiler() -> bool:
    """Whether a C++ compiler that ``torch.compile`` can call is on the path."""
    return any(shutil.which(name) for name in (os.environ.get("CXX") or "g++", "clang++"))


def fits_shared_memory(settings: RunSettings, replicas: int) -> bool:
    """Whether the weights and the gradients of all replicas but the first fit where they share them.

    Containers give 64 MB of it unless told otherwise, and a process that writes more is killed.
    """
    if replicas == 1 or not SHARED_MEMORY.is_dir():
        return True
    needed = 4.0 * (count_parameters(settings.model).total + (replicas - 1) * settings.trained_parameters)
    return shutil.disk_usage(SHARED_MEMORY).free > SHARED_MEMORY_RESERVE * needed


def choose_execution(settings: RunSettings, threads: int | None) -> Execution:
    """Decide from settings and machine, without measuring, so that the same machine decides alike.

    Raises:
        UserError: where compilation is demanded and there is no compiler.
    """
    device = default_device()
    cores = threads or available_cores()
    wanted = settings.training.compile
    if wanted == "on" and device.type == "cpu" and not has_compiler():
        raise UserError("training.compile is 'on' and no C++ compiler (g++ or clang++) is on the path; use 'off'.")
    expected = settings.flops / (ASSUMED_FLOPS_PER_SECOND_AND_CORE * cores)
    pays = device.type == "cuda" or (has_compiler() and expected > COMPILE_PAYS_SECONDS)
    compiled = wanted == "on" or (wanted == "auto" and pays)
    # A process a core, as long as each has two rows of the batch or more; see foretell.train.replicas.
    # They compute in float32; another precision stays in one process rather than being dropped.
    shared = device.type == "cpu" and settings.training.precision == "float32"
    replicas = max(1, min(cores, settings.shared_rows // 2)) if shared else 1
    if not fits_shared_memory(settings, replicas):
        replicas = 1
    return Execution(
        device=device.type, threads=cores // replicas, replicas=replicas, compiled=compiled, torch=torch.__version__
    )


def recorded_execution(folder: Path, settings: RunSettings, threads: int | None) -> Execution:
    """The choice recorded in ``folder``, made and recorded now where there is none.

    Raises:
        UserError: where the recorded choice cannot be kept here.
    """
    path = folder / "execution.json"
    if not path.exists():
        write_json(path, choose_execution(settings, threads).model_dump())
    execution = build(Execution, read_json(path))
    if execution.device == "cuda" and not torch.cuda.is_available():
        raise UserError(f"{folder} was started on a GPU and this machine has none; continue it where it was started.")
    if execution.compiled and execution.device == "cpu" and not has_compiler():
        raise UserError(f"{folder} was started with torch.compile and no C++ compiler is on the path now.")
    return execution
