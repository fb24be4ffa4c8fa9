"""TensorBoard's event files, read without TensorFlow or torch: scalars and hyper-parameters of one run.

A file is a sequence of TFRecords (TensorFlow, "TFRecord and tf.train.Example": length, its masked CRC-32C, the data,
its masked CRC-32C), each an ``Event`` message of tensorflow/core/util/event.proto. The messages are declared here as
far as they are needed, for the packages that ship them import TensorFlow or torch.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from foretell.core.errors import UserError

LARGEST_RECORD = 1 << 20  # bytes; scalars take a hundred, larger ones are pictures and graphs and passed over
CHECKED_RECORD = 4096  # bytes up to which the data's own checksum is computed
SESSION_START = 1
FLOAT, DOUBLE = 1, 2  # of TensorFlow's DataType
FIELDS: dict[str, tuple[tuple[str, int, str], ...]] = {
    "Event": (("step", 2, "int64"), ("summary", 5, "Summary"), ("session_log", 7, "SessionLog")),
    "SessionLog": (("status", 1, "int32"),),
    "Summary": (("value", 1, "repeated Value"),),
    "Value": (("tag", 1, "string"), ("simple_value", 2, "optional float"), ("tensor", 8, "Tensor"),
              ("metadata", 9, "Metadata")),
    "Metadata": (("plugin_data", 1, "Plugin"),),
    "Plugin": (("plugin_name", 1, "string"), ("content", 2, "bytes")),
    "Tensor": (("dtype", 1, "int32"), ("tensor_content", 4, "bytes"), ("float_val", 5, "repeated float"),
               ("double_val", 6, "repeated double")),
    "HParams": (("session_start_info", 3, "SessionStart"),),
    "SessionStart": (("hparams", 1, "repeated Setting"),),
    "Setting": (("key", 1, "string"), ("value", 2, "SettingValue")),
    "SettingValue": (("number_value", 2, "optional double"), ("string_value", 3, "optional string"),
                     ("bool_value", 4, "optional bool")),
}  # fmt: skip


@dataclass
class EventRun:
    """What one folder's event files hold.

    Attributes:
        scalars: by tag, (step, value) in the order of steps; values that are not finite are left out.
        settings: hyper-parameters by name.
        damage: sentences about files that could not be read to their end.
    """

    scalars: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    damage: list[str] = field(default_factory=list)


def event_files(folder: Path) -> list[Path]:
    """Event files below a folder, in the order of their names, which begin with the time."""
    return sorted(path for path in folder.rglob("*tfevents*") if path.is_file())


def read_events(paths: list[Path]) -> EventRun:
    """Read one run's event files, the earliest first; of a step written twice the later value counts.

    A file that ends in the middle of a record, as one does that is being written, or that is damaged there gives what
    stands before; it is named in ``damage``.

    Raises:
        UserError: where a file cannot be opened.
    """
    run = EventRun()
    steps: dict[str, dict[int, float]] = {}
    for path in paths:
        try:
            with path.open("rb") as file:
                for event in _events(path, file, run.damage):
                    _take(event, steps, run.settings)
        except OSError as error:
            raise UserError(f"{path} cannot be read ({error.strerror}).") from error
    run.scalars = {tag: sorted(values.items()) for tag, values in steps.items()}
    return run


def _take(event: Any, steps: dict[str, dict[int, float]], settings: dict[str, Any]) -> None:
    if event.session_log.status == SESSION_START:
        # A run that goes on from an earlier step says so, and what it writes again replaces what stood there.
        for tag, values in steps.items():
            steps[tag] = {step: value for step, value in values.items() if step < event.step}
    for value in event.summary.value:
        if value.metadata.plugin_data.plugin_name == "hparams":
            settings.update(_settings(value.metadata.plugin_data.content))
            continue
        number = _scalar(value)
        if number is not None and math.isfinite(number):
            steps.setdefault(value.tag, {})[event.step] = number


def _scalar(value: Any) -> float | None:
    if value.HasField("simple_value"):
        return float(value.simple_value)
    if not value.HasField("tensor"):
        return None
    tensor = value.tensor
    for numbers in (tensor.float_val, tensor.double_val):
        if len(numbers) == 1:
            return float(numbers[0])
    code = {FLOAT: "<f", DOUBLE: "<d"}.get(tensor.dtype)
    if code and len(tensor.tensor_content) == struct.calcsize(code):
        return float(struct.unpack(code, tensor.tensor_content)[0])
    return None


def _settings(content: bytes) -> dict[str, Any]:
    found = _parse("HParams", content)
    if found is None:
        return {}
    values = {}
    for setting in found.session_start_info.hparams:
        kind = next((name for name, _, _ in FIELDS["SettingValue"] if setting.value.HasField(name)), None)
        values[setting.key] = None if kind is None else getattr(setting.value, kind)
    return values


def _events(path: Path, file: BinaryIO, damage: list[str]) -> Iterator[Any]:
    """Every event up to the first place where records no longer follow each other."""
    spoilt = 0
    while head := file.read(12):
        if len(head) < 12:
            damage.append(f"{path} ends in the middle of a record; what stands before is used.")
            break
        length, checksum = struct.unpack("<QI", head)
        if _masked_crc(head[:8]) != checksum:
            damage.append(f"{path} is damaged after {file.tell() - 12:,} bytes; what stands before is used.")
            break
        if length > LARGEST_RECORD:
            file.seek(length + 4, 1)
            continue
        data, tail = file.read(length), file.read(4)
        if len(data) < length or len(tail) < 4:
            damage.append(f"{path} ends in the middle of a record; what stands before is used.")
            break
        event = None
        if length > CHECKED_RECORD or _masked_crc(data) == struct.unpack("<I", tail)[0]:
            event = _parse("Event", data)
        if event is None:
            spoilt += 1
        else:
            yield event
    if spoilt:
        damage.append(f"{path} has {spoilt} damaged record{'s' if spoilt > 1 else ''}, which are left out.")


def _parse(name: str, data: bytes) -> Any | None:
    from google.protobuf.message import DecodeError

    message = _messages()[name]()
    try:
        message.ParseFromString(data)
    except (DecodeError, UnicodeDecodeError):
        return None
    return message


@cache
def _messages() -> dict[str, Any]:
    """Message classes of :data:`FIELDS`; what a file holds beyond them is passed over."""
    from google.protobuf import (
        descriptor_pb2,
        descriptor_pool,
        message_factory,
    )  # of no use to those without such files

    declared = descriptor_pb2.FileDescriptorProto(name="foretell/events.proto", package="foretell", syntax="proto2")
    kinds = descriptor_pb2.FieldDescriptorProto
    for name, fields in FIELDS.items():
        message = declared.message_type.add(name=name)
        for key, number, text in fields:
            kind = text.split()[-1]
            label = kinds.LABEL_REPEATED if text.startswith("repeated ") else kinds.LABEL_OPTIONAL
            if kind in FIELDS:
                message.field.add(name=key, number=number, label=label, type=kinds.TYPE_MESSAGE,
                                  type_name=f".foretell.{kind}")  # fmt: skip
            else:
                message.field.add(name=key, number=number, label=label, type=getattr(kinds, f"TYPE_{kind.upper()}"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(declared)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"foretell.{name}")) for name in FIELDS}


@cache
def _crc_table() -> tuple[int, ...]:
    """CRC-32C of every byte (Castagnoli polynomial, reflected 0x82F63B78)."""
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = (byte >> 1) ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return tuple(table)


def _masked_crc(data: bytes) -> int:
    table, crc = _crc_table(), 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
