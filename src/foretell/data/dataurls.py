"""Images inside of an address: ``data:image/png;base64,...``."""

from __future__ import annotations

import base64
import binascii
import re

from foretell.core.errors import UserError

MEDIA_TYPES = ("image/png", "image/jpeg", "image/webp", "image/gif")
HEAD = re.compile(r"data:([\w.+/-]{0,80})((?:;[\w.+=/-]{0,80}){0,4}),", re.IGNORECASE | re.ASCII)


def is_data_url(url: str) -> bool:
    """Whether the content is in the address itself."""
    return url[:5].lower() == "data:"


def read_data_url(url: str, most: int, name: str) -> tuple[str, bytes]:
    """Media type and content.

    Raises:
        UserError: for another media type than :data:`MEDIA_TYPES`, content that is not base64 or has more than ``most``
            bytes; ``name`` is what it calls the address.
    """
    head = HEAD.match(url)
    media = head[1].lower().replace("image/jpg", "image/jpeg") if head else ""
    if head is None or media not in MEDIA_TYPES or head[2].lower() != ";base64":
        raise UserError(
            f"{name} begins with {url[:40]!r}; data:TYPE;base64, and the content is accepted, with one of "
            f"{', '.join(MEDIA_TYPES)} as TYPE."
        )
    if (len(url) - head.end()) * 3 // 4 > most + 2:
        raise UserError(f"{name} has more than {most:,} bytes, which is the limit here.")
    try:
        content = base64.b64decode("".join(url[head.end() :].split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise UserError(f"{name} has content that is not base64.") from error
    if len(content) > most:
        raise UserError(f"{name} has {len(content):,} bytes; at most {most:,} are accepted.")
    return media, content


def data_url(media: str, content: bytes) -> str:
    """The inverse of :func:`read_data_url`."""
    return f"data:{media};base64,{base64.b64encode(content).decode()}"
