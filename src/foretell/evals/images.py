"""Images of items: opened, written for a server, and told apart by their pixels."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

from PIL import Image

from foretell.core.errors import UserError
from foretell.data.image_decoding import decode


def opened(image: Image.Image | Path) -> Image.Image:
    """An image of an item in RGB.

    Raises:
        UserError: where the file is missing or no image.
    """
    if isinstance(image, Image.Image):
        return image.convert("RGB")
    try:
        return decode(image.read_bytes(), name=str(image))
    except OSError as error:
        raise UserError(f"{image} cannot be read ({error.strerror}); an image is expected.") from error


def png(image: Image.Image) -> bytes:
    """The bytes of a PNG."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def image_digest(image: Image.Image) -> str:
    """32 hex digits of an image's size and pixels, whatever file they came from."""
    content = f"{image.mode} {image.size}".encode() + image.tobytes()
    return hashlib.blake2b(content, digest_size=16).hexdigest()
