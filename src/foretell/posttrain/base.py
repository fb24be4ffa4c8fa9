"""The model that post-training starts from, and the hash that identifies its weights."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch

from foretell.core.errors import UserError
from foretell.data.conversations import ChatTemplate
from foretell.data.tokenizer import Tokenizer
from foretell.model.decoder import Decoder
from foretell.model.hf import load_hf


@dataclass(frozen=True)
class Base:
    """A model with all that its training needs."""

    name: str
    decoder: Decoder
    tokenizer: Tokenizer
    chat: ChatTemplate | None
    context: int


def load_base(source: str) -> Base:
    """Load a Hugging Face directory.

    Raises:
        UserError: where there is none, or a file of it is missing, damaged or of a kind that is not read.
    """
    folder = Path(source).expanduser()
    if not folder.is_dir():
        raise UserError(f"--model is {source!r}, which is not a folder; a Llama or Qwen3 directory is expected.")
    decoder = load_hf(folder)
    tokenizer = Tokenizer.from_file(folder / "tokenizer.json")
    return Base(str(folder), decoder, tokenizer, None, decoder.config.context)


def weights_digest(model: Decoder) -> str:
    """SHA-256 of a model's tensors, packed ones too, with their names; whatever file they came from."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()
