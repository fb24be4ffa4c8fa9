"""Image files of strangers to pixels."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass

from PIL import Image, ImageOps, UnidentifiedImageError

from foretell.core.errors import UserError

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")


@dataclass(frozen=True)
class ImageLimits:
    """What a file may hold at most: bytes of it, pixels, and the longer side as a multiple of the shorter."""

    bytes: int = 20_000_000
    pixels: int = 40_000_000
    ratio: int = 200


def decode(data: bytes, limits: ImageLimits = ImageLimits(), name: str = "The image") -> Image.Image:
    """A PNG, JPEG, WebP, GIF or BMP file as an upright RGB picture.

    Raises:
        UserError: for whatever is not such a file, is cut short or damaged, or is beyond the limits.
    """
    if len(data) > limits.bytes:
        raise UserError(f"{name} has {len(data):,} bytes; at most {limits.bytes:,} are accepted.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=FORMATS) as file:
                width, height = file.size
                if width * height > limits.pixels:
                    raise UserError(
                        f"{name} is {width:,} x {height:,} pixels; at most {limits.pixels:,} in all are accepted."
                    )
                if max(width, height) > limits.ratio * min(width, height):
                    raise UserError(
                        f"{name} is {width:,} x {height:,} pixels; sides that differ by a factor of at most "
                        f"{limits.ratio} are accepted."
                    )
                file.load()
                upright = ImageOps.exif_transpose(file)
                layered = upright.convert("RGBA")
    except UserError:
        raise
    except UnidentifiedImageError as error:
        raise UserError(f"{name} is no PNG, JPEG, WebP, GIF or BMP file.") from error
    except Exception as error:  # decoders raise whatever damaged bytes bring about
        raise UserError(f"{name} is cut short or damaged ({' '.join(str(error).split())[:120]}).") from error
    white = Image.new("RGB", layered.size, (255, 255, 255))
    white.paste(layered, mask=layered.getchannel("A"))
    return white
