"""Images as a model reads them: bytes to a picture, a picture to patches, and the tokens that stand for patches.

Letters: H, W the pixels of a prepared picture, p the side of a patch, P = (H / p) (W / p) its patches.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import BmpImagePlugin, GifImagePlugin, Image, ImageFile, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from foretell.core.errors import UserError
from foretell.core.pixels import PIXEL_DEVIATION, PIXEL_MEAN
from foretell.data.image_structure import Excessive, Kind, kind_of, picture_of

# Made directly, because Image.open reads process-wide settings of size and hands some files to other decoders.
_READERS: dict[Kind, type[ImageFile.ImageFile]] = {
    "PNG": PngImagePlugin.PngImageFile,
    "JPEG": JpegImagePlugin.JpegImageFile,
    "WebP": WebPImagePlugin.WebPImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
}
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_OPAQUE = ("1", "L", "RGB", "CMYK", "P")
_WITH_ALPHA = ("LA", "PA", "RGBA")
_GREY_16 = ("I;16", "I;16B", "I")
_EIGHT_BITS = ((np.arange(1 << 16) + 128) // 257).astype(np.uint8)


@dataclass(frozen=True)
class ImageLimits:
    """What a file may hold at most: bytes of it, pixels, and the longer side as a multiple of the shorter."""

    bytes: int = 20_000_000
    pixels: int = 40_000_000
    ratio: int = 200


def decode(data: bytes, limits: ImageLimits = ImageLimits(), name: str = "The image") -> Image.Image:
    """A PNG, JPEG, WebP, GIF or BMP file as an upright RGB picture.

    Transparency is laid on white, 16 bits become 8, EXIF orientation is applied, colour profiles are ignored; of an
    animation the first frame counts. Nothing of the picture is decoded before its header is within the limits.

    Args:
        data: the file; anything at all.
        limits: what is refused.
        name: what errors call it.

    Raises:
        UserError: for whatever is not such a file, is cut short or damaged, or is beyond the limits.
    """
    if len(data) > limits.bytes:
        raise UserError(f"{name} has {len(data):,} bytes; at most {limits.bytes:,} are accepted.")
    kind = kind_of(data, name)
    try:
        picture, orientation = picture_of(kind, data)
        with _READERS[kind](io.BytesIO(picture)) as file:
            _require_within(limits, *file.size, name)
            rgb = _as_rgb(file, name)
    except UserError:
        raise
    except Excessive as error:
        raise UserError(f"{name} has {error}, which is more than any picture needs.") from error
    except Image.DecompressionBombError as error:
        raise UserError(f"{name} has more pixels than the {limits.pixels:,} that are accepted.") from error
    except (Exception, Warning) as error:  # the decoders raise whatever damaged bytes bring about
        raise UserError(f"{name} is cut short or is a damaged {kind} file ({_words(error)}).") from error
    turn = _UPRIGHT.get(orientation)
    return rgb if turn is None else rgb.transpose(turn)


def _words(error: BaseException) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__


def _require_within(limits: ImageLimits, width: int, height: int, name: str) -> None:
    size = f"{name} is {width:,} x {height:,} pixels"
    if min(width, height) < 1:
        raise UserError(f"{size}; at least one is expected.")
    if width * height > limits.pixels:
        raise UserError(f"{size}; at most {limits.pixels:,} in all are accepted.")
    if max(width, height) > limits.ratio * min(width, height):
        raise UserError(f"{size}; sides that differ by a factor of at most {limits.ratio} are accepted.")


def _as_rgb(file: ImageFile.ImageFile, name: str) -> Image.Image:
    key = _transparent_key(file)
    file.load()
    if file.mode in _GREY_16:
        values = np.asarray(file).clip(0, 65535).astype(np.uint16)
        return Image.fromarray(np.where(values == key, np.uint8(255), _EIGHT_BITS[values])).convert("RGB")
    if file.mode in _WITH_ALPHA or (file.mode in _OPAQUE and key is not None):
        if key is not None:
            file.info["transparency"] = key
        layered = file.convert("RGBA")
        white = Image.new("RGB", layered.size, (255, 255, 255))
        white.paste(layered, mask=layered.getchannel("A"))
        return white
    if file.mode not in _OPAQUE:
        raise UserError(f"{name} has pixels of the kind {file.mode}; grey, RGB, CMYK and palettes are accepted.")
    return file.convert("RGB")


def _transparent_key(file: ImageFile.ImageFile) -> Any:
    """The colour that is transparent (or of a palette the alphas), in the values that the decoder gives pixels."""
    key = file.info.get("transparency")
    stored = file.tile[0].args if file.tile else None  # a PNG's bits: grey of 2 or 4 is spread, colours of 16 are cut
    if isinstance(key, int) and file.mode == "L":
        key = min(255, key * {"L;2": 85, "L;4": 17}.get(str(stored), 1))
    if isinstance(key, tuple):
        key = tuple(min(255, value >> 8 if stored == "RGB;16B" else value) for value in key)
    return key


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
        found[:, channel] = values[by_channel[:, channel]]
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
    """Ids of the tokens that an image takes in a text: one a patch, one after each row, and one after the last."""

    image: int
    line_break: int
    end: int

    def run(self, rows: int, columns: int) -> list[int]:
        """What stands for an image of ``rows`` x ``columns`` patches: ``rows * (columns + 1)`` ids."""
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
