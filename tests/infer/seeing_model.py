"""The small model with a vision half, and pictures for it."""

from __future__ import annotations

import small_model
import torch
from PIL import Image

from foretell.data.config import IMAGE_BREAK, IMAGE_END, IMAGE_TOKEN
from foretell.data.images import ImageTokens, normalised, patch_bytes, places_of
from foretell.infer.images import PreparedImage
from foretell.model.config import ModelConfig
from foretell.model.decoder import Decoder
from foretell.model.vision_config import VisionConfig

TOKENS = ImageTokens(*map(small_model.tokenizer().special_token_id, (IMAGE_TOKEN, IMAGE_BREAK, IMAGE_END)))
VISION = VisionConfig(patch=4, width=32, depth=2, heads=2, head_dim=16, ffn_width=48, longest=32,
                      image_token=TOKENS.image)  # fmt: skip


def config(**changes) -> ModelConfig:
    return small_model.config(vision=VISION, **changes)


def decoder(**changes) -> Decoder:
    return small_model.decoder(vision=VISION, **changes)


def picture(width: int = 24, height: int = 16, seed: int = 0) -> Image.Image:
    """Noise, in which every patch is another."""
    generator = torch.Generator().manual_seed(seed)
    return Image.fromarray(torch.randint(0, 256, (height, width, 3), generator=generator, dtype=torch.uint8).numpy())


def prepared(width: int = 24, height: int = 16, seed: int = 0) -> PreparedImage:
    return PreparedImage.of(picture(width, height, seed), VISION)


def run(image: PreparedImage) -> tuple[int, ...]:
    """The tokens of an image."""
    return tuple(TOKENS.run(*image.grid(VISION.patch)))


def inputs(images: list[PreparedImage]) -> dict[str, torch.Tensor]:
    """What :meth:`Decoder.forward` takes for the images of one row."""
    patches = [torch.from_numpy(normalised(patch_bytes(image.pixels, VISION.patch))) for image in images]
    places = [torch.cat((torch.full((len(grid), 1), number), torch.from_numpy(grid)), 1)
              for number, image in enumerate(images) for grid in [places_of(*image.grid(VISION.patch))]]  # fmt: skip
    return {"patches": torch.cat(patches).unsqueeze(0), "places": torch.cat(places).unsqueeze(0)}
