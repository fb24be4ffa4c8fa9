"""Small models with a vision half, and inputs for them."""

from __future__ import annotations

import torch
from torch import Tensor

from foretell.model.config import ModelConfig
from foretell.model.decoder import Decoder, build_decoder
from foretell.model.vision_config import VisionConfig

IMAGE = 60  # id of the image token
VISION = {"patch": 4, "width": 32, "depth": 2, "heads": 2, "head_dim": 16, "ffn_width": 48, "longest": 32,
          "image_token": IMAGE}  # fmt: skip
TEXT = {"vocab_size": 61, "width": 24, "depth": 2, "heads": 4, "kv_heads": 2, "head_dim": 8, "ffn_width": 40,
        "context": 96}  # fmt: skip


def visual(vision: dict | None = None, **text) -> ModelConfig:
    return ModelConfig(**{**TEXT, **text}, vision=VisionConfig(**{**VISION, **(vision or {})}))


def randomised(config: ModelConfig, scale: float = 0.2) -> Decoder:
    """A model without any zero, so that a mix-up shows."""
    model = build_decoder(config, 1)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale + (parameter.ndim == 1))
    return model.eval()


def pictures(rows: list[list[tuple[int, int]]], seed: int = 0) -> tuple[Tensor, Tensor]:
    """Patches and places of a batch whose rows have images of these (height, width) in patches, padded at the end."""
    generator = torch.Generator().manual_seed(seed)
    room = max(sum(height * width for height, width in row) for row in rows)
    patches = torch.randn(len(rows), room, 3 * VISION["patch"] ** 2, generator=generator)
    places = torch.full((len(rows), room, 3), -1)
    for row, images in enumerate(rows):
        start = 0
        for number, (height, width) in enumerate(images):
            part = slice(start, start + height * width)
            places[row, part, 0] = number
            places[row, part, 1] = torch.arange(height).repeat_interleave(width)
            places[row, part, 2] = torch.arange(width).repeat(height)
            start = part.stop
    return patches, places


def prompt(pieces: list[int], seed: int = 0) -> Tensor:
    """[1, T] ids: random text of so many tokens, or of image tokens where the number is negative, one after another."""
    generator = torch.Generator().manual_seed(seed)
    parts = [torch.randint(0, IMAGE, (n,), generator=generator) if n > 0 else torch.full((-n,), IMAGE) for n in pieces]
    return torch.cat(parts).unsqueeze(0)
