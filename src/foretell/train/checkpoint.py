"""Checkpoints: whole or absent, checksummed, the newest good one is found.

A checkpoint is a folder ``step-00001234`` with ``model.safetensors``, ``optimizer.safetensors``, ``state.json`` and
``checksums.json``. It is filled under another name and renamed; a damaged one is refused by name.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save
from torch import Tensor

from foretell.core.errors import UserError
from foretell.core.files import atomic_directory, read_json, sha256_bytes, sha256_file
from foretell.core.progress import say

_FILES = ("model.safetensors", "optimizer.safetensors", "state.json")


@dataclass(frozen=True)
class Checkpoint:
    """What a run needs to go on exactly: weights, optimizer tensors, and the rest as JSON."""

    step: int
    model: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    state: dict[str, Any]


def checkpoint_folders(folder: Path) -> list[Path]:
    """Checkpoints under ``folder``, oldest first."""
    return sorted(path for path in folder.glob("step-*") if path.is_dir())


def save_checkpoint(folder: Path, checkpoint: Checkpoint, keep: int) -> Path:
    """Write a checkpoint and remove those older than the ``keep`` newest.

    Raises:
        UserError: where the disk is full; older checkpoints are still whole.
    """
    target = folder / f"step-{checkpoint.step:08d}"
    contents = {
        "model.safetensors": save(checkpoint.model),
        "optimizer.safetensors": save(checkpoint.optimizer),
        "state.json": json.dumps(checkpoint.state).encode(),
    }
    with atomic_directory(target) as temporary:
        for name, content in contents.items():
            (temporary / name).write_bytes(content)
        checksums = {name: sha256_bytes(content) for name, content in contents.items()}
        (temporary / "checksums.json").write_text(json.dumps(checksums, indent=2))
    for old in checkpoint_folders(folder)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return target


def read_checkpoint(path: Path) -> Checkpoint:
    """Read one checkpoint and verify every byte of it.

    Raises:
        UserError: naming the file that is missing or differs from its checksum.
    """
    checksums = read_json(path / "checksums.json")
    for name in _FILES:
        if not (path / name).exists():
            raise UserError(f"Checkpoint {path} is refused: {name} is missing.")
        if sha256_file(path / name) != checksums.get(name):
            raise UserError(f"Checkpoint {path} is refused: {name} differs from its checksum.")
    return Checkpoint(
        step=int(path.name.removeprefix("step-")),
        model=load_file(path / "model.safetensors"),
        optimizer=load_file(path / "optimizer.safetensors"),
        state=read_json(path / "state.json"),
    )


def newest_checkpoint(folder: Path) -> Checkpoint | None:
    """The newest whole checkpoint; damaged newer ones are named, set aside and passed over."""
    for path in reversed(checkpoint_folders(folder)):
        try:
            return read_checkpoint(path)
        except UserError as error:
            say(f"{error} The one before it is used.", "yellow")
            aside = path.with_name(f"damaged-{path.name}")
            shutil.rmtree(aside, ignore_errors=True)
            path.rename(aside)
    return None
