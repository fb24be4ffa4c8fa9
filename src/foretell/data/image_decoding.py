"""Image files of strangers to pictures."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import BmpImagePlugin, GifImagePlugin, Image, ImageFile, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from foretell.core.errors import UserError
from foretell.data.image_structure import Costly, Kind, kind_of, picture_of

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
    except Costly as error:
        raise UserError(f"{name} {error}.") from error
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
