"""Image files before they are decoded: what kind they are, and of each what makes the picture.

Decoders read everything that a file holds: colour profiles, comments, dates. In a hostile file these cost far more than
the picture: 20,000 compressed colour profiles in 20 MB take minutes, and a directory of EXIF may point at the same
megabytes a thousand times. So the decoder is given a file without them. The one thing wanted of them is which way is
up.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Literal

from foretell.core.errors import UserError

Kind = Literal["PNG", "JPEG", "WebP", "GIF", "BMP"]
ACCEPTED = "PNG, JPEG, WebP, GIF and BMP are accepted"
BLOCKS = 1 << 16
SCANS = 32  # of a progressive JPEG, each as much work as the picture; encoders write about ten

_PNG = b"\x89PNG\r\n\x1a\n"
_SIGNATURES: tuple[tuple[bytes, Kind], ...] = (
    (_PNG, "PNG"), (b"\xff\xd8\xff", "JPEG"), (b"GIF87a", "GIF"), (b"GIF89a", "GIF"), (b"BM", "BMP"),
)  # fmt: skip
_OTHERS = (
    (b"II*\0", "a TIFF image"), (b"MM\0*", "a TIFF image"), (b"%PDF", "a PDF document"), (b"%!PS", "a PostScript file"),
    (b"\xc5\xd0\xd3\xc6", "a PostScript file"), (b"8BPS", "a Photoshop file"), (b"PK", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip file"), (b"\0\0\1\0", "an icon"), (b"\xff\x0a", "a JPEG XL image"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL image"), (b"\0\0\0\x0cjP  ", "a JPEG 2000 image"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 image"), (b"qoif", "a QOI image"),
)  # fmt: skip
_PICTURE_CHUNKS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
_JPEG_APPS = {0xE0, 0xEE}  # JFIF and Adobe say what the components are
_AFTER_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)
_ORIENTATION = 0x0112


class Costly(Exception):
    """A file that would take far longer to decode than its picture is worth: what follows its name in a sentence."""


def kind_of(data: bytes, name: str) -> Kind:
    """The format, by its signature.

    Raises:
        UserError: where it is none that is accepted, by name as far as it is known.
    """
    for signature, kind in _SIGNATURES:
        if data.startswith(signature):
            return kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    if not data:
        raise UserError(f"{name} is empty; {ACCEPTED}.")
    found = next((words for signature, words in _OTHERS if data.startswith(signature)), None) or _by_content(data)
    raise UserError(f"{name} is {found}; {ACCEPTED}.")


def _by_content(data: bytes) -> str:
    if data[4:8] == b"ftyp":
        still = {b"avif": "an AVIF image", b"avis": "an AVIF image", b"heic": "a HEIC image", b"heix": "a HEIC image",
                 b"mif1": "a HEIF image"}  # fmt: skip
        return still.get(data[8:12], "a video")
    start = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if b"<svg" in start:
        return "an SVG drawing"
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "an HTML page"
    return "no image of a known format"


def picture_of(kind: Kind, data: bytes) -> tuple[bytes, int]:
    """The file without what surrounds its picture, and its EXIF orientation (1 to 8; 1 is upright).

    Of an animation the first frame and what follows it stay, as the decoder reads no further than the first.

    Raises:
        Costly: where there are more parts or scans than any program writes, or a BMP is run-length encoded.
    """
    match kind:
        case "PNG":
            return _png(data)
        case "JPEG":
            return _jpeg(data)
        case "GIF":
            return _gif(data), 1
        case "WebP":
            return data, _webp_orientation(data)
        case "BMP":
            return _bmp(data), 1


def _counted(number: int) -> None:
    if number >= BLOCKS:
        raise Costly(f"has more than {BLOCKS:,} parts, and no picture needs as many")


def _png(data: bytes) -> tuple[bytes, int]:
    kept, orientation = [_PNG], 1
    place, number = len(_PNG), 0
    while place + 8 <= len(data):
        _counted(number := number + 1)
        length, name = struct.unpack_from(">I4s", data, place)
        end = place + 12 + length
        if name in _PICTURE_CHUNKS:
            kept.append(data[place:end])
        elif name == b"eXIf":
            orientation = orientation_in(data[place + 8 : end - 4])
        if name == b"IEND":
            break
        place = end
    return b"".join(kept), orientation


def _jpeg(data: bytes) -> tuple[bytes, int]:
    kept, orientation = [data[:2]], 1
    place, number = 2, 0
    while (place := data.find(b"\xff", place)) >= 0 and place + 4 <= len(data):
        marker = data[place + 1]
        if marker in (0x00, 0x01, 0xFF) or 0xD0 <= marker <= 0xD8:
            place += 1 if marker == 0xFF else 2
            continue
        _counted(number := number + 1)
        if marker in (0xDA, 0xD9):
            kept.append(data[place : _end_of_scans(data, place)])
            break
        end = place + 2 + int.from_bytes(data[place + 2 : place + 4])
        segment = data[place:end]
        if marker == 0xE1 and segment[4:10] == b"Exif\0\0":
            orientation = orientation_in(segment[10:])
        elif not (0xE0 <= marker <= 0xEF or marker == 0xFE) or marker in _JPEG_APPS:
            kept.append(segment)
        place = max(end, place + 4)
    return b"".join(kept), orientation


def _end_of_scans(data: bytes, place: int) -> int:
    """The place after the end-of-image marker, or the end of the file."""
    scans = 0
    while found := _AFTER_SCAN.search(data, place):
        marker, place = data[found.start() + 1], found.end()
        if marker == 0xD9:
            return place
        if marker == 0xDA and (scans := scans + 1) > SCANS:
            raise Costly(f"has more than {SCANS} scans, and no picture needs as many")
        if marker != 0x01:
            place += int.from_bytes(data[place : place + 2])
    return len(data)


def _gif(data: bytes) -> bytes:
    """Without comments and other extensions before the first image, its graphic control excepted."""
    place = 13 + (3 << ((data[10] & 7) + 1) if len(data) > 10 and data[10] & 0x80 else 0)
    header, control, number = data[:place], b"", 0
    while data[place : place + 1] == b"!":
        start, label = place, data[place + 1 : place + 2]
        place += 2
        while place < len(data) and data[place]:
            _counted(number := number + 1)
            place += 1 + data[place]
        place += 1
        _counted(number := number + 1)
        if label == b"\xf9":
            control = data[start:place]
    return header + control + data[place:]


def _bmp(data: bytes) -> bytes:
    """As it is: without surroundings, but run-length encoded pixels are read byte by byte."""
    if int.from_bytes(data[14:18], "little") >= 40 and int.from_bytes(data[30:34], "little") in (1, 2):
        raise Costly("is a run-length encoded BMP file; other BMP files are accepted")
    return data


def _webp_orientation(data: bytes) -> int:
    for name, content in _riff_chunks(data):
        if name == b"EXIF":
            return orientation_in(content.removeprefix(b"Exif\0\0"))
    return 1


def _riff_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    place, number = 12, 0
    while place + 8 <= len(data):
        _counted(number := number + 1)
        name, length = struct.unpack_from("<4sI", data, place)
        yield name, data[place + 8 : place + 8 + length] if name == b"EXIF" else b""
        place += 8 + length + length % 2


def orientation_in(exif: bytes) -> int:
    """The orientation of a TIFF block, 1 to 8; 1 where it states none or is damaged, which spoils no picture."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return 1
    try:
        (first,) = struct.unpack_from(f"{order}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, first)
        for place in range(first + 2, first + 2 + 12 * count, 12):
            tag, kind, values, value = struct.unpack_from(f"{order}HHIH", exif, place)
            if tag == _ORIENTATION:
                return value if kind == 3 and values == 1 and 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1
