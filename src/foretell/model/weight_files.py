"""Tensors by name from the weight files of a folder: safetensors or PyTorch's pickles, whole or in parts."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from foretell.core.errors import UserError
from foretell.core.files import read_json

WHOLE = ("model.safetensors", "pytorch_model.bin")


def read_weights(folder: Path) -> dict[str, Tensor]:
    """All tensors of a folder, from ``model.safetensors`` or ``pytorch_model.bin``, or from the parts of their index.

    Raises:
        UserError: where there is none of them, or a part is missing or damaged.
    """
    for name in WHOLE:
        index = folder / f"{name}.index.json"
        if (folder / name).exists():
            return read_parts([folder / name])
        if index.exists():
            parts = sorted(set(read_json(index).get("weight_map", {}).values()))
            outside = next((part for part in parts if Path(part).name != part), None)
            if outside is not None:
                raise UserError(f"{index}: the part {outside!r} is not a file of this folder.")
            return read_parts([folder / part for part in parts])
    raise UserError(f"{folder / WHOLE[0]} is missing, and there is no {WHOLE[1]} and no index of parts either.")


def read_parts(paths: Sequence[Path]) -> dict[str, Tensor]:
    """The tensors of all these files; no object but a tensor is ever unpickled.

    Raises:
        UserError: where one is missing or damaged, or holds something else than tensors by name.
    """
    found: dict[str, Tensor] = {}
    for path in paths:
        kind = "safetensors" if path.suffix == ".safetensors" else "PyTorch weights"
        try:
            if path.suffix == ".safetensors":
                part = load_file(path)
            else:
                part = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except FileNotFoundError as error:
            raise UserError(f"{path} is missing.") from error
        except (SafetensorError, OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
            reason = str(error).strip().splitlines()[0]
            raise UserError(f"{path} is not readable as {kind} ({reason}).") from error
        if not isinstance(part, dict) or not all(isinstance(value, Tensor) for value in part.values()):
            raise UserError(f"{path} does not hold tensors by name, which is what is read.")
        found |= part
    return found


class Taker:
    """Hands out each tensor once, as float32, and knows which are left."""

    def __init__(self, tensors: dict[str, Tensor], source: str) -> None:
        self.left = dict(tensors)
        self.source = source

    def take(self, name: str) -> Tensor:
        """The tensor of that name in float32.

        Raises:
            UserError: where it is missing or holds no floating-point numbers of 16 bits or more.
        """
        if name not in self.left:
            raise UserError(f"{self.source}: the tensor {name} is missing.")
        tensor = self.left.pop(name)
        if not tensor.is_floating_point() or tensor.element_size() < 2:
            kind = str(tensor.dtype).removeprefix("torch.")
            raise UserError(f"{self.source}: {name} is {kind}; float32, bfloat16 and float16 are read.")
        return tensor.float()

    def finish(self, ignored: tuple[str, ...] = ()) -> None:
        """Raise where tensors are left whose names do not end in one of ``ignored``.

        Raises:
            UserError: naming the first.
        """
        left = sorted(name for name in self.left if not name.endswith(ignored))
        if left:
            raise UserError(f"{self.source}: the tensor {left[0]} has no place in this decoder.")
