"""Sentencepiece's BPE with scores and byte fallback (Kudo & Richardson 2018, arXiv 1808.06226) as a backend.

Read from sentencepiece's own ``tokenizer.model`` (``sentencepiece_model.proto``), llama2.c's ``tokenizer.bin``, and
what a GGUF file holds of it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tokenizers
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from tokenizers import decoders, models, normalizers, processors

from foretell.core.errors import UserError
from foretell.data.tokenizer import SPACE, Tokenizer

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)  # of a piece, in sentencepiece and in GGUF


@dataclass(frozen=True)
class Piece:
    """One entry of the vocabulary; of two possible merges the one whose result has the higher score comes first."""

    text: str
    score: float
    kind: int


def added_token(piece: Piece) -> tokenizers.AddedToken | None:
    """How the backend must know a piece apart from its merges, if it must."""
    if piece.kind in (CONTROL, UNKNOWN):
        return tokenizers.AddedToken(piece.text, special=True, normalized=False)
    return tokenizers.AddedToken(piece.text, special=False, normalized=False) if piece.kind == USER_DEFINED else None


def add_tokens(backend: tokenizers.Tokenizer, pieces: Sequence[Piece]) -> None:
    """Tell the backend which entries are special or taken whole; they keep the ids they have in its vocabulary."""
    added = [token for token in map(added_token, pieces) if token is not None]
    backend.add_special_tokens([token for token in added if token.special])
    backend.add_tokens([token for token in added if not token.special])


def begin_texts_with(backend: tokenizers.Tokenizer, token: str) -> None:
    """Let the backend put ``token`` before a text when special tokens are asked of it, as transformers does."""
    number = backend.token_to_id(token)
    backend.post_processor = processors.TemplateProcessing(single=["$A"] if number is None else [token, "$A"],
                                                           special_tokens=[(token, number or 0)])  # fmt: skip


def merges_of(pieces: Sequence[Piece]) -> list[tuple[str, str]]:
    """Every way to put an entry together from two others, the entry with the highest score first."""
    ids = {piece.text: number for number, piece in enumerate(pieces) if piece.kind == NORMAL}
    found: list[tuple[float, int, int, str, str]] = []
    for text, number in ids.items():
        for cut in range(1, len(text)):
            left, right = text[:cut], text[cut:]
            if left in ids and right in ids:
                found.append((-pieces[number].score, ids[left], ids[right], left, right))
    return [(left, right) for *_, left, right in sorted(found)]


def backend_of(pieces: Sequence[Piece], *, prefix: bool) -> tokenizers.Tokenizer:
    """The ``tokenizers`` backend of a sentencepiece BPE; with ``prefix`` a text begins with a space."""
    vocabulary = {piece.text: number for number, piece in enumerate(pieces)}
    unknown = next((piece.text for piece in pieces if piece.kind == UNKNOWN), None)
    model = models.BPE(vocabulary, merges_of(pieces), unk_token=unknown, fuse_unk=True, byte_fallback=True)
    backend = tokenizers.Tokenizer(model)
    spaces = [normalizers.Prepend(SPACE)] if prefix else []
    backend.normalizer = normalizers.Sequence([*spaces, normalizers.Replace(" ", SPACE)])
    stripped = [decoders.Strip(" ", 1, 0)] if prefix else []
    backend.decoder = decoders.Sequence(
        [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), *stripped]
    )
    add_tokens(backend, pieces)
    return backend


_Field = descriptor_pb2.FieldDescriptorProto
# The part of sentencepiece_model.proto that is read here: number, type, and of what messages.
_SCHEMA: dict[str, dict[str, tuple[int, int, str]]] = {
    "Piece": {"piece": (1, _Field.TYPE_STRING, ""), "score": (2, _Field.TYPE_FLOAT, ""),
              "type": (3, _Field.TYPE_INT32, "")},
    "Trainer": {"model_type": (3, _Field.TYPE_INT32, ""), "bos_id": (41, _Field.TYPE_INT32, ""),
                "eos_id": (42, _Field.TYPE_INT32, "")},
    "Normalizer": {"name": (1, _Field.TYPE_STRING, ""), "add_dummy_prefix": (3, _Field.TYPE_BOOL, ""),
                   "remove_extra_whitespaces": (4, _Field.TYPE_BOOL, "")},
    "Model": {"pieces": (1, _Field.TYPE_MESSAGE, ".foretell.Piece"),
              "trainer_spec": (2, _Field.TYPE_MESSAGE, ".foretell.Trainer"),
              "normalizer_spec": (3, _Field.TYPE_MESSAGE, ".foretell.Normalizer")},
}  # fmt: skip


def _model_message() -> Any:
    """An empty ``ModelProto``."""
    file = descriptor_pb2.FileDescriptorProto(name="foretell_sentencepiece.proto", syntax="proto2", package="foretell")
    for name, fields in _SCHEMA.items():
        message = file.message_type.add(name=name)
        for field, (number, kind, of) in fields.items():
            label = _Field.LABEL_REPEATED if field == "pieces" else _Field.LABEL_OPTIONAL
            message.field.add(name=field, number=number, type=kind, label=label, type_name=of or None)  # type: ignore[arg-type]
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("foretell.Model"))()


def from_sentencepiece(path: Path) -> Tokenizer:
    """Read a ``tokenizer.model`` of the BPE type, as LLaMA's and Mistral's first tokenizers are.

    Raises:
        UserError: where the file is missing, is not a sentencepiece model, or is one of another type.
    """
    model = _model_message()
    try:
        model.ParseFromString(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}).") from error
    except DecodeError as error:
        raise UserError(f"{path} is not a sentencepiece model ({error}).") from error
    pieces = [Piece(piece.piece, piece.score, piece.type or NORMAL) for piece in model.pieces]
    if not pieces:
        raise UserError(f"{path} is not a sentencepiece model: it has no pieces.")
    normalizer = model.normalizer_spec
    if model.trainer_spec.model_type != 2:
        raise UserError(f"{path}: model_type is {model.trainer_spec.model_type}; 2 (BPE) is read.")
    if normalizer.name not in ("", "identity") or normalizer.remove_extra_whitespaces:
        raise UserError(f"{path}: its normalizer is {normalizer.name!r}; 'identity' that keeps all spaces is read.")
    prefix = normalizer.add_dummy_prefix if normalizer.HasField("add_dummy_prefix") else True
    begin, end = model.trainer_spec.bos_id or 1, model.trainer_spec.eos_id or 2
    return _tokenizer(pieces, begin, end, prefix, str(path))


def from_llama2c(path: Path) -> Tokenizer:
    """Read a ``tokenizer.bin`` of llama2.c: the longest length, then score, length and text of each piece.

    Ids 0, 1 and 2 are ``<unk>``, ``<s>`` and ``</s>``; 3 to 258 the bytes.

    Raises:
        UserError: where the file is missing or is not of that format.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}).") from error
    pieces = [Piece("<unk>", 0.0, UNKNOWN), Piece("<s>", 0.0, CONTROL), Piece("</s>", 0.0, CONTROL)]
    place, number = 4, 0
    try:
        while place < len(data):
            score, length = struct.unpack_from("<fi", data, place)
            raw = data[place + 8 : place + 8 + length]
            if length < 0 or len(raw) < length:
                raise ValueError(f"piece {number} has {length} bytes")
            if number >= len(pieces):
                text = raw.decode().replace(" ", SPACE)
                pieces.append(Piece(text, score, BYTE if 3 <= number < 259 else NORMAL))
            place, number = place + 8 + length, number + 1
    except (struct.error, ValueError) as error:
        raise UserError(f"{path} is not a tokenizer.bin of llama2.c ({error}).") from error
    return _tokenizer(pieces, 1, 2, True, str(path))


def _tokenizer(pieces: Sequence[Piece], begin: int, end: int, prefix: bool, source: str) -> Tokenizer:
    if max(begin, end) >= len(pieces):
        raise UserError(f"{source}: the special ids {begin} and {end} lie outside its {len(pieces)} pieces.")
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": pieces[begin].text,
        "eos_token": pieces[end].text,
        "add_bos_token": True,
        "clean_up_tokenization_spaces": False,
    }
    unknown = next((piece.text for piece in pieces if piece.kind == UNKNOWN), None)
    settings |= {"unk_token": unknown} if unknown is not None else {}
    backend = backend_of(pieces, prefix=prefix)
    begin_texts_with(backend, pieces[begin].text)
    return Tokenizer(backend, settings, pieces[end].text)
