"""Small changes to training images that leave every answer true: nothing is turned, mirrored, cut off or recoloured."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from foretell.core.config import Settings
from foretell.data.visual.documents import VisualDocument

BEST_JPEG = 95


class AugmentConfig(Settings):
    """How far training images may be changed; each change is drawn anew for every image."""

    variants: int = Field(default=1, ge=1, le=100)
    """Versions of each training document, each changed in its own way."""
    shrink: float = Field(default=0.1, ge=0, le=0.5)
    """Most of its sides that an image shrinks by; it is put anywhere in its old frame, its edges filling the rest."""
    brightness: float = Field(default=0.1, ge=0, le=0.5)
    """Most that values become larger or smaller by, as a share."""
    contrast: float = Field(default=0.1, ge=0, le=0.5)
    """Most that distances from the mean become larger or smaller by, as a share."""
    noise: float = Field(default=3.0, ge=0, le=50)
    """Largest standard deviation of noise, of 255."""
    jpeg: int = Field(default=60, ge=20, le=100)
    """Lowest JPEG quality that an image is written with and read again, half of the time; 100 leaves it out."""


def augment(image: Image.Image, generator: np.random.Generator, config: AugmentConfig) -> Image.Image:
    """An RGB image, changed a little; its size stays."""
    values = np.asarray(_smaller(image, generator, config.shrink), np.float32)
    values = values * (1 + generator.uniform(-1, 1) * config.brightness)
    mean = values.mean()
    values = mean + (values - mean) * (1 + generator.uniform(-1, 1) * config.contrast)
    values = values + generator.normal(0, generator.uniform(0, 1) * config.noise, values.shape)
    return _as_jpeg(Image.fromarray(_whole(values)), generator, config.jpeg)


def varied(document: VisualDocument, seed: int, config: AugmentConfig) -> list[VisualDocument]:
    """The versions of a training document, the same whenever they are drawn."""
    found = []
    for number in range(config.variants):
        name = f"{seed}/{document.identity}/{number}".encode()
        generator = np.random.default_rng(int.from_bytes(hashlib.blake2b(name, digest_size=16).digest()))
        images = tuple(augment(image, generator, config) for image in document.images)
        found.append(replace(document, images=images))
    return found


def _whole(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _smaller(image: Image.Image, generator: np.random.Generator, share: float) -> Image.Image:
    """All of the image in a part of its frame."""
    width, height = image.size
    factor = 1 / (1 - generator.uniform(0, share))
    left, top = ((factor - 1) * side * generator.uniform(0, 1) for side in (width, height))
    margin = (int(share / (1 - share) * max(width, height)) + 1) if share else 0
    padded = np.pad(np.asarray(image), ((margin, margin), (margin, margin), (0, 0)), mode="edge")
    box = (margin - left, margin - top, margin - left + factor * width, margin - top + factor * height)
    return Image.fromarray(padded).resize(image.size, Image.Resampling.BICUBIC, box)


def _as_jpeg(image: Image.Image, generator: np.random.Generator, lowest: int) -> Image.Image:
    quality = int(generator.integers(min(lowest, BEST_JPEG), BEST_JPEG + 1))
    if lowest > BEST_JPEG or generator.random() < 0.5:
        return image
    written = io.BytesIO()
    image.save(written, "JPEG", quality=quality)
    with Image.open(written, formats=["JPEG"]) as file:
        return file.convert("RGB")
