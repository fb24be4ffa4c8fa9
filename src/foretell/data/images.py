"""Images as a model reads them: a picture to patches, and the tokens that stand for patches.

Letters: H, W the pixels of a prepared picture, p the side of a patch, P = (H / p) (W / p) its patches.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from foretell.core.errors import UserError
from foretell.core.pixels import PIXEL_DEVIATION, PIXEL_MEAN


def prepared_size(width: int, height: int, patch: int, longest: int) -> tuple[int, int]:
    """Rows and columns of patches of a picture, each at least one: shrunk so that its longer side is at most
    ``longest`` pixels, both sides then rounded up to whole patches.
    """
    ratio = max(height / longest, width / longest)
    if ratio > 1:
        height, width = math.floor(height / ratio), math.floor(width / ratio)
    return max(1, -(-height // patch)), max(1, -(-width // patch))


def prepare(image: Image.Image, patch: int, longest: int) -> NDArray[np.uint8]:
    """An RGB picture as pixels ``[H, W, 3]``, resized as transformers' Pixtral image processor does (bicubic).

    Args:
        image: RGB.
        patch: pixels of a patch's side, p >= 1; where a model merges patches, of what is merged.
        longest: upper bound of H and W, a multiple of ``patch`` (else they may exceed it by less than a patch).
    """
    rows, columns = prepared_size(*image.size, patch, longest)
    size = (columns * patch, rows * patch)
    return np.array(image.resize(size, Image.Resampling.BICUBIC) if image.size != size else image, np.uint8)


def prepare_square(image: Image.Image, patch: int, side: int, crop: bool) -> NDArray[np.uint8]:
    """An RGB picture as a square of pixels ``[H, H, 3]``, the whole patches within ``side``, resized as transformers'
    CLIP and SigLIP image processors do (bicubic).

    Args:
        image: RGB.
        patch: pixels of a patch's side, 1 <= p <= side.
        side: of the square; what fills no patch on its right and lower edges is left out.
        crop: whether the picture's shorter side becomes ``side`` and the middle is read; else it is stretched.
    """
    if crop:
        shorter, longer = sorted(image.size)
        length = int(side * longer / shorter)
        size = (side, length) if image.width <= image.height else (length, side)
        left, top = ((edge - side) // 2 for edge in size)
        image = image.resize(size, Image.Resampling.BICUBIC).crop((left, top, left + side, top + side))
    elif image.size != (side, side):
        image = image.resize((side, side), Image.Resampling.BICUBIC)
    whole = side // patch * patch
    return np.array(image, np.uint8)[:whole, :whole]


def patch_bytes(pixels: NDArray[np.uint8], patch: int) -> NDArray[np.uint8]:
    """Prepared pixels ``[H, W, 3]`` as patches ``[P, 3 p p]``, row by row; in each the channels, their rows, columns
    (the order of a Conv2d's weight).
    """
    height, width, channels = pixels.shape
    grid = pixels.reshape(height // patch, patch, width // patch, patch, channels).transpose(0, 2, 4, 1, 3)
    return np.ascontiguousarray(grid).reshape(-1, channels * patch * patch)


def places_of(rows: int, columns: int) -> NDArray[np.int64]:
    """Row and column of each patch, ``[rows * columns, 2]``, row by row."""
    return np.stack(np.divmod(np.arange(rows * columns), columns), axis=1)


def normalised(
    patches: NDArray[np.uint8], mean: tuple[float, ...] = PIXEL_MEAN, std: tuple[float, ...] = PIXEL_DEVIATION
) -> NDArray[np.float32]:
    """Patches ``[P, 3 p p]`` of bytes as what a model reads: ``(value / 255 - mean) / std`` of each channel."""
    table = _normalised_values(tuple(mean), tuple(std))
    by_channel = patches.reshape(len(patches), len(table), patches.shape[1] // len(table))
    found = np.empty(by_channel.shape, np.float32)
    for channel, values in enumerate(table):
        found[:, channel] = values.take(
            by_channel[:, channel], mode="wrap"
        )  # a byte is below 256: no check, thrice as fast
    return found.reshape(patches.shape)


@lru_cache(maxsize=8)
def _normalised_values(mean: tuple[float, ...], std: tuple[float, ...]) -> NDArray[np.float32]:
    """``[3, 256]``, in transformers' order of rounding."""
    values = (np.arange(256, dtype=np.float64) * (1 / 255)).astype(np.float32)
    return (values - np.array(mean, np.float32)[:, None]) / np.array(std, np.float32)[:, None]


def patches_of(
    pixels: NDArray[np.uint8],
    patch: int,
    mean: tuple[float, ...] = PIXEL_MEAN,
    std: tuple[float, ...] = PIXEL_DEVIATION,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Prepared pixels ``[H, W, 3]`` as normalised patches ``[P, 3 p p]`` and their (row, column), ``[P, 2]``."""
    height, width = pixels.shape[:2]
    return normalised(patch_bytes(pixels, patch), mean, std), places_of(height // patch, width // patch)


@dataclass(frozen=True)
class ImageTokens:
    """Ids of the tokens that an image takes in a text: one a patch, and where a model has these, one after each row of
    patches and another one after the last.
    """

    image: int
    line_break: int | None = None
    end: int | None = None

    def run(self, rows: int, columns: int) -> list[int]:
        """What stands for an image of ``rows`` x ``columns`` patches: ``rows * (columns + 1)`` ids, without the breaks
        ``rows * columns``.
        """
        if self.line_break is None or self.end is None:
            return [self.image] * rows * columns
        return ([self.image] * columns + [self.line_break]) * (rows - 1) + [self.image] * columns + [self.end]

    def expand(self, ids: Sequence[int], grids: Sequence[tuple[int, int]]) -> list[int]:
        """Ids with one image token an image, each replaced by the run of its (rows, columns).

        Raises:
            UserError: where there are more or fewer image tokens than grids.
        """
        return [number for place in self.runs(ids, grids) for number in place]

    def runs(self, ids: Sequence[int], grids: Sequence[tuple[int, int]]) -> list[list[int]]:
        """For each id what it becomes: itself, or the run of an image. Errors are those of :meth:`expand`."""
        found = sum(number == self.image for number in ids)
        if found != len(grids):
            raise UserError(
                f"The text has {found} image tokens, and there are {len(grids)} images; one each is needed."
            )
        left = iter(grids)
        return [self.run(*next(left)) if number == self.image else [number] for number in ids]
