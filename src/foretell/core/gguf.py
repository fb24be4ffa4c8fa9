"""GGUF files, llama.cpp's container: typed metadata and tensors, mapped into memory and read by the ``gguf`` package.

Specification: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from foretell.core.errors import UserError
from foretell.core.files import storage_errors

MAGIC = b"GGUF"


@dataclass(frozen=True)
class GgufTensor:
    """One tensor as it lies in the file.

    Attributes:
        kind: llama.cpp's name of its type, as ``F32`` or ``Q4_1``.
        shape: outermost dimension first, as in torch.
        data: the values of F32 and F16 in that shape; of every other type the raw bytes, uint8 [..., bytes of a row].
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    data: np.ndarray


@dataclass(frozen=True)
class GgufFile:
    """Metadata by key (scalars, strings and lists of them) and tensors by name."""

    path: Path
    metadata: Mapping[str, Any]
    tensors: Mapping[str, GgufTensor]

    def require(self, key: str) -> Any:
        """The metadata under ``key``.

        Raises:
            UserError: where there is none.
        """
        if key not in self.metadata:
            raise UserError(f"{self.path}: the metadata key {key} is missing.")
        return self.metadata[key]


def gguf_package() -> ModuleType:
    """The optional ``gguf`` package.

    Raises:
        UserError: where it is not installed.
    """
    try:
        import gguf
    except ImportError as error:
        raise UserError("GGUF files need the package gguf: pip install 'foretell[gguf]'.") from error
    return gguf


def read_gguf(path: Path) -> GgufFile:
    """Read a GGUF file's metadata and map its tensors.

    Raises:
        UserError: where the file is missing, is not GGUF, is cut short, is damaged, or is one of several parts.
    """
    gguf = gguf_package()
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}).") from error
    if magic != MAGIC:
        raise UserError(f"{path} is not a GGUF file: it begins with {magic!r} and not with {MAGIC!r}.")

    class Reader(gguf.GGUFReader):  # type: ignore[name-defined, misc]
        """A plain array instead of a memory map (slices are ten times as fast), and no reading past its end."""

        def _get(self, offset: int, dtype: Any, count: int = 1, override_order: Any = None) -> Any:
            self.data: np.ndarray = np.asarray(self.data)
            end = int(offset) + np.dtype(dtype).itemsize * int(count)
            if end > len(self.data):
                raise ValueError(f"it has {len(self.data):,} bytes and speaks of byte {end:,}: it was cut short")
            return super()._get(int(offset), dtype, count, override_order)

    try:
        reader = Reader(path)
        metadata = {key: field.contents() for key, field in reader.fields.items()}
    except (ValueError, KeyError, IndexError, OverflowError, OSError) as error:
        raise UserError(f"{path} is not readable as GGUF: {str(error).strip(chr(34))}.") from error
    if metadata.get("split.count", 1) > 1:
        raise UserError(
            f"{path} is one of {metadata['split.count']} parts; merge them with llama-gguf-split --merge first."
        )
    tensors = {
        tensor.name: GgufTensor(
            tensor.name, tensor.tensor_type.name, tuple(int(size) for size in reversed(tensor.shape)), tensor.data
        )
        for tensor in reader.tensors
    }
    return GgufFile(path, metadata, tensors)


def write_gguf(path: Path, architecture: str, metadata: Mapping[str, Any], tensors: Mapping[str, GgufTensor]) -> None:
    """Write a GGUF file; it appears under its name only when it is whole.

    Whole numbers become uint32, other numbers float32; lists hold strings, whole numbers (int32) or numbers (float32).

    Raises:
        UserError: where the place cannot be written or the disk is full.
    """
    gguf = gguf_package()
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.part")
        writer = gguf.GGUFWriter(temporary, architecture)
        add = {bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32, str: writer.add_string}
        for key, value in metadata.items():
            add.get(type(value), writer.add_array)(key, value)
        for tensor in tensors.values():
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=gguf.GGMLQuantizationType[tensor.kind])
        try:
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_tensors_to_file()
            writer.close()
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
