"""Images as clients send them, good ones and others."""

from __future__ import annotations

import base64
import io
import zlib

from PIL import Image


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    """The file of an image."""
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def url_of(data: bytes, media: str = "image/png") -> str:
    return f"data:{media};base64,{base64.b64encode(data).decode()}"


def part(url: str, **more) -> dict:
    """A part of a message."""
    return {"type": "image_url", "image_url": {"url": url, **more}}


def asking(*urls: str, text: str = "what is this?") -> dict:
    """A message of the user's."""
    return {"role": "user", "content": [*map(part, urls), {"type": "text", "text": text}]}


def bomb(side: int = 60_000) -> bytes:
    """A PNG of a few hundred bytes that says it has billions of pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")

    head = side.to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    rows = zlib.compress(bytes(100_000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


GOOD = encoded(Image.new("RGB", (24, 16), (200, 30, 40)))
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>'

HOSTILE = {
    "nothing": "data:image/png;base64,",
    "cut short": url_of(GOOD[: len(GOOD) // 2]),
    "its head alone": url_of(GOOD[:8]),
    "no picture": url_of(b"no picture at all"),
    "a page": url_of(b"<!doctype html><script>alert(1)</script>"),
    "a drawing": url_of(SVG),
    "a drawing that says so": url_of(SVG, "image/svg+xml"),
    "a page that says so": url_of(b"<p>", "text/html"),
    "a document": url_of(b"%PDF-1.7", "application/pdf"),
    "no media type": "data:;base64," + base64.b64encode(GOOD).decode(),
    "percent signs": "data:image/png,%89PNG",
    "not base64": "data:image/png;base64,@@@@",
    "half of base64": "data:image/png;base64,abc",
    "other letters": "data:image/png;base64,ÄÖÜß",
    "no comma": "data:image/png;base64",
    "a bomb": url_of(bomb()),
    "a wide bomb": url_of(encoded(Image.new("L", (60_000, 1)))),
    "garbage after a head": url_of(GOOD[:40] + bytes(range(256))),
    "another address": "ftp://example.com/a.png",
    "a file": "file:///etc/passwd",
    "a path": "/etc/passwd",
    "a script": "javascript:alert(1)",
}
