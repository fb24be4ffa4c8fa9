"""Images of requests: their pixels, the places of their tokens, and their features.

Letters: P patches of an image, N image tokens of a prompt, D the decoder's width.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from foretell.core.errors import UserError
from foretell.core.pixels import PIXEL_DEVIATION, PIXEL_MEAN
from foretell.core.wording import plural
from foretell.data.images import ImageTokens, patches_of, prepare, prepare_square
from foretell.model.config import ModelConfig
from foretell.model.vision import VisionTower
from foretell.model.vision_config import CHANNELS, VisionConfig

IMAGE_MEMORY = 2**28  # bytes


@dataclass(frozen=True)
class PreparedImage:
    """An image in the size in which a model reads it; two of equal pixels are equal.

    Attributes:
        pixels: uint8 [height, width, 3] of whole patches.
        digest: of the pixels and their arrangement, 16 bytes.
    """

    pixels: NDArray[np.uint8] = field(compare=False, repr=False)
    digest: bytes = field(init=False)

    def __post_init__(self) -> None:
        """Take the digest."""
        content = f"{self.pixels.dtype} {self.pixels.shape}".encode() + self.pixels.tobytes()
        object.__setattr__(self, "digest", hashlib.blake2b(content, digest_size=16).digest())

    @classmethod
    def of(cls, image: Image.Image, vision: VisionConfig) -> Self:
        """An RGB image, made to fit and resized to whole patches."""
        if vision.foreign is not None:
            return cls(prepare_square(image, vision.patch, vision.longest, vision.foreign.crop))
        return cls(prepare(image, vision.patch, vision.longest))

    def grid(self, patch: int) -> tuple[int, int]:
        """Rows and columns of patches of ``patch`` pixels a side."""
        return self.pixels.shape[0] // patch, self.pixels.shape[1] // patch


@dataclass(frozen=True)
class ImageReader:
    """How a model is given images.

    Attributes:
        tokens: that stand for an image.
        vision: the half that reads them.
    """

    tokens: ImageTokens
    vision: VisionConfig

    def prepared(self, image: Image.Image) -> PreparedImage:
        """An RGB image as the model reads it."""
        return PreparedImage.of(image, self.vision)

    def expanded(self, ids: Sequence[int], images: Sequence[PreparedImage]) -> list[int]:
        """Ids as a chat template writes them, one token an image, to ids with the whole runs.

        Raises:
            UserError: for another number of image tokens than of images.
        """
        return self.tokens.expand(ids, [image.grid(self.vision.patch) for image in images])


def check_images(ids: Sequence[int], images: Sequence[PreparedImage], config: ModelConfig) -> None:
    """Refuse images that do not go with a prompt's tokens or a model.

    Raises:
        UserError: for a model without a vision half, pixels of another shape than it reads, or another number of image
            tokens than patches.
    """
    vision = config.vision
    if vision is None:
        if images:
            raise UserError(f"The prompt has {plural(len(images), 'image')}; this model reads text alone.")
        return
    square = vision.longest // vision.patch * vision.patch  # of an encoder that reads one size
    most = -(-vision.longest // vision.patch) * vision.patch
    accepted = {square} if vision.foreign is not None else set(range(vision.patch, most + 1, vision.patch))
    sizes = f"{square}" if vision.foreign is not None else f"multiples of {vision.patch} and at most {most}"
    for number, image in enumerate(images):
        shape, kind = image.pixels.shape, image.pixels.dtype
        sides = shape[:2] if len(shape) == 3 and shape[2] == CHANNELS and kind == np.uint8 else (0,)
        if not accepted.issuperset(sides):
            raise UserError(
                f"images[{number}] is {kind} {list(shape)}; uint8 [height, width, {CHANNELS}] is accepted, both sides "
                f"{sizes}."
            )
    tokens = sum(token == vision.image_token for token in ids)
    patches = sum(rows * columns for rows, columns in (image.grid(vision.patch) for image in images))
    if tokens != patches:
        raise UserError(
            f"The prompt has {plural(tokens, 'image token')}, and its {plural(len(images), 'image')} "
            f"{plural(patches, 'patch', 'patches')}; a token for each patch is expected."
        )


class ImageEncoder:
    """The vision half of an engine.

    Each image goes through it by itself, so that its features are the same whatever else is asked for; those of the
    images that were used last are kept, up to ``memory`` bytes.

    Args:
        tower: whose layers may be packed ones.
        like: of the type and at the place of what the tower computes with.
        memory: in bytes.
        threads: of PyTorch, where it does the work and has fewer otherwise.

    Attributes:
        encoded, found: images that were computed, and that were there already.
    """

    def __init__(
        self, tower: VisionTower, like: Tensor, memory: int = IMAGE_MEMORY, threads: int | None = None
    ) -> None:
        self._tower, self._like, self._memory, self._threads = tower, like, memory, threads
        self.encoded = self.found = 0
        self.clear()

    def clear(self) -> None:
        """Forget all features."""
        self._kept: OrderedDict[bytes, Tensor] = OrderedDict()  # the longest unused first
        self.kept_bytes = 0

    def features(self, image: PreparedImage) -> Tensor:
        """[P, D] features of an image."""
        known = self._kept.get(image.digest)
        if known is not None:
            self.found += 1
            self._kept.move_to_end(image.digest)
            return known
        self.encoded += 1
        features = self._encode(image)
        self._kept[image.digest] = features
        self.kept_bytes += features.nbytes
        while self.kept_bytes > self._memory:
            self.kept_bytes -= self._kept.popitem(last=False)[1].nbytes
        return features

    def _encode(self, image: PreparedImage) -> Tensor:
        vision = self._tower.config
        pixels = (vision.foreign.mean, vision.foreign.deviation) if vision.foreign else (PIXEL_MEAN, PIXEL_DEVIATION)
        patches, spots = map(torch.from_numpy, patches_of(image.pixels, vision.patch, *pixels))
        places = F.pad(spots, (1, 0))  # all of image 0
        with _torch_threads(self._threads):
            return self._tower.features(patches.unsqueeze(0).to(self._like), places.unsqueeze(0).to(self._like.device))


@contextmanager
def _torch_threads(count: int | None) -> Iterator[None]:
    """Let PyTorch use so many threads for a while; as many as it does where ``None``."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class PlacedImages:
    """The images of one sequence: which of its tokens stand for what, and the features of the one that is being read.

    Args:
        ids: of the prompt, with as many image tokens as the images have patches.
        images: in the order of their tokens.
        vision: of the model.
    """

    def __init__(self, ids: Sequence[int], images: Sequence[PreparedImage], vision: VisionConfig) -> None:
        self._images = images
        self._positions = np.flatnonzero(np.asarray(ids) == vision.image_token)  # [N]
        patches = [rows * columns for rows, columns in (image.grid(vision.patch) for image in images)]
        self._ends = np.cumsum(patches, dtype=np.int64)
        self._starts = self._ends - np.array(patches, dtype=np.int64)
        self._numbers = np.concatenate([_numbers(image, count) for image, count in zip(images, patches, strict=True)])
        self._held: dict[int, Tensor] = {}

    def named(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """``ids`` with a number in place of each image token that only this patch of this image has; below zero, where
        no id is.
        """
        ids = ids.copy()
        ids[self._positions] = self._numbers
        return ids

    def fill(self, x: Tensor, position: int, encoder: ImageEncoder) -> None:
        """Put features where image tokens are.

        An image that is not read to its end stays at hand until it is, or until :meth:`forget`.

        Args:
            x: [T, D] embeddings of the sequence's tokens from ``position`` on; changed in place.
            position: of the first.
            encoder: of features.
        """
        first, last = np.searchsorted(self._positions, (position, position + len(x)))
        for number, (start, end) in enumerate(zip(self._starts, self._ends, strict=True)):
            low, high = max(first, start), min(last, end)
            if low >= high:
                continue
            features = self._held.pop(number, None)
            if features is None:
                features = encoder.features(self._images[number])
            x[torch.from_numpy(self._positions[low:high] - position)] = features[low - start : high - start].to(x.dtype)
            if high < end:
                self._held[number] = features

    def forget(self) -> None:
        """Let go of features: the sequence ends, or is read again from an earlier token."""
        self._held.clear()


def _numbers(image: PreparedImage, patches: int) -> NDArray[np.int64]:
    """A number below zero for each patch of an image, int64 [P]."""
    first = np.uint64(int.from_bytes(image.digest[:8], "big"))
    counted = (first + np.arange(patches, dtype=np.uint64)) % np.uint64(2**63)
    return -1 - counted.astype(np.int64)
