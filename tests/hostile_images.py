"""Two hundred files that claim to be images: bombs, damaged and mutated ones, and other things altogether.

Each has a name ``kind/what``. Those of the kinds ``bomb``, ``cut`` and ``other`` must be refused; of ``fuzz`` some are
pictures still.
"""

import io
import random
import struct
import zipfile
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

COUNT = 200
PNG = b"\x89PNG\r\n\x1a\n"
ONE_PIXEL = zlib.compress(b"\0\0")


def must_be_refused(name: str) -> bool:
    """Whether no reading of the file is a picture within the default limits."""
    return not name.startswith("fuzz/")


def hostile_images() -> list[tuple[str, bytes]]:
    """The names and the files, always the same."""
    fixed = [*_bombs(), *_cut(), *_others()]
    return [*fixed, *_fuzzed(COUNT - len(fixed))]


def chunk(name: bytes, data: bytes) -> bytes:
    """A part of a PNG."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, data: bytes, before: bytes = b"", depth: int = 8, colour: int = 0) -> bytes:
    """A PNG with whatever its header states; ``data`` is compressed already, ``before`` whole chunks."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return PNG + chunk(b"IHDR", header) + before + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def pictures() -> dict[str, bytes]:
    """A good picture in each format and a few of its ways of writing."""
    random_pixels = np.random.default_rng(0).integers(0, 256, (24, 40, 3), np.uint8)
    image = Image.fromarray(random_pixels)
    alpha = image.copy()
    alpha.putalpha(image.convert("L"))
    exif = Image.Exif()
    exif[0x0112] = 6
    moving = {"save_all": True, "append_images": [image.rotate(180)]}
    return {
        "png": _file(image, "PNG", exif=exif), "png-alpha": _file(alpha, "PNG"),
        "png-moving": _file(image, "PNG", **moving), "png-palette": _file(image.convert("P"), "PNG", transparency=3),
        "jpeg": _file(image, "JPEG", exif=exif), "jpeg-progressive": _file(image, "JPEG", progressive=True),
        "jpeg-cmyk": _file(image.convert("CMYK"), "JPEG"),
        "webp": _file(image, "WEBP", exif=exif), "webp-lossless": _file(alpha, "WEBP", lossless=True),
        "webp-moving": _file(image, "WEBP", **moving), "gif": _file(image, "GIF"),
        "gif-moving": _file(image, "GIF", **moving),
        "bmp": _file(image, "BMP"), "bmp-palette": _file(image.convert("P"), "BMP"),
    }  # fmt: skip


def _file(image: Image.Image, kind: str, **options) -> bytes:
    target = io.BytesIO()
    image.save(target, kind, **options)
    return target.getvalue()


def _bombs() -> Iterator[tuple[str, bytes]]:
    zeros = zlib.compressobj(9)
    million = bytes(1 << 20)
    wide = b"".join(zeros.compress(million) for _ in range(300)) + zeros.flush()
    yield "bomb/png-50000-1bit", png(50_000, 50_000, wide, depth=1)
    yield "bomb/png-header-lies", png(2**31 - 1, 2**31 - 1, ONE_PIXEL)
    yield "bomb/png-zero", png(0, 0, ONE_PIXEL)
    yield "bomb/png-zero-height", png(7, 0, ONE_PIXEL)
    yield "bomb/png-row", png(100_000, 1, zlib.compress(bytes(100_001)))
    yield "bomb/png-column", png(1, 100_000, zlib.compress(bytes(200_000)))
    yield "bomb/png-rgba16", png(30_000, 30_000, ONE_PIXEL, depth=16, colour=6)
    yield "bomb/png-many-chunks", png(1, 1, ONE_PIXEL, chunk(b"teSt", b"") * 100_000)
    canvas = bytearray(pictures()["gif"])
    canvas[6:10] = b"\xff\xff\xff\xff"
    yield "bomb/gif-canvas", bytes(canvas)
    gif = pictures()["gif"]
    comments = b"!\xfe" + b"\1a" * 100_000 + b"\0"
    start = 13 + (3 << ((gif[10] & 7) + 1))
    yield "bomb/gif-comments", gif[:start] + comments + gif[start:]
    yield "bomb/webp-canvas", _webp(b"VP8X" + struct.pack("<I", 10) + bytes(4) + b"\xfe\xff\xff\xff\0\0")
    yield "bomb/webp-lossless-canvas", _webp(b"VP8L" + struct.pack("<I", 5) + b"\x2f\xff\xff\xff\x0f")
    yield (
        "bomb/bmp-header",
        b"BM" + struct.pack("<IIIIiiHHIIiiII", 54, 0, 54, 40, 60_000, 60_000, 1, 24, 0, 0, 0, 0, 0, 0),
    )
    yield (
        "bomb/bmp-negative",
        b"BM" + struct.pack("<IIIIiiHHIIiiII", 54, 0, 54, 40, -1, -(2**31), 1, 24, 0, 0, 0, 0, 0, 0),
    )
    runs = struct.pack("<IIIIiiHHIIiiII", 1078 + 8192, 0, 1078, 40, 64, 64, 1, 8, 1, 8192, 0, 0, 256, 0)
    yield "bomb/bmp-runs", b"BM" + runs + bytes(1024) + b"\1\1" * 4096
    jpeg, progressive = bytearray(pictures()["jpeg"]), pictures()["jpeg-progressive"]
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = b"\xff\xdc\xff\xdc"
    yield "bomb/jpeg-header-lies", bytes(jpeg)
    last = progressive.rindex(b"\xff\xda")
    yield "bomb/jpeg-scans", progressive[:-2] + progressive[last:-2] * 500 + progressive[-2:]
    yield "bomb/jpeg-comments", progressive[:2] + b"\xff\xfe\0\2" * 100_000 + progressive[2:]


def _webp(chunks: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks


def _cut() -> Iterator[tuple[str, bytes]]:
    for name, data in pictures().items():
        for share in (0.02, 0.3, 0.45):
            yield f"cut/{name}-{share:g}", data[: max(3, int(share * len(data)))]
    yield "cut/png-no-data", PNG + chunk(b"IHDR", struct.pack(">IIBBBBB", 9, 9, 8, 2, 0, 0, 0)) + chunk(b"IEND", b"")
    yield "cut/png-damaged-data", png(9, 9, b"no zlib")
    yield "cut/png-palette-missing", png(9, 9, zlib.compress(bytes(90)), depth=8, colour=9)
    yield "cut/jpeg-no-frame", b"\xff\xd8\xff\xda\0\2\xff\xd9"


def _others() -> Iterator[tuple[str, bytes]]:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(zipfile.ZipInfo("../../zeros.png"), bytes(1 << 20))
    yield from {
        "other/empty": b"", "other/byte": b"\x89", "other/signature": PNG, "other/text": b"hello",
        "other/zeros": bytes(4096),
        "other/svg": b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><image href="file:///x"/></svg>',
        "other/svg-entities": b'<!DOCTYPE svg [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]><svg>&b;</svg>',
        "other/html": b"<!DOCTYPE html><script>alert(1)</script>",
        "other/pdf": b"%PDF-1.7\n1 0 obj <</JS (app.alert(1))>>",
        "other/eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) (r) file\n",
        "other/zip": archive.getvalue(), "other/mp4": b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41" + bytes(64),
        "other/heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64),
        "other/avif": b"\0\0\0\x1cftypavif" + bytes(64),
        "other/gzip": b"\x1f\x8b\x08" + bytes(32), "other/psd": b"8BPS\0\1" + bytes(64),
        "other/ico": b"\0\0\1\0\1\0" + bytes(64),
        "other/jpeg2000": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(64), "other/tiff": _file(Image.new("F", (4, 4)), "TIFF"),
        "other/ppm": b"P6 4 4 255\n" + bytes(48), "other/elf": b"\x7fELF" + bytes(64), "other/python": b"import os\n",
        "other/pickle": b"\x80\x04cposix\nsystem\n(S'true'\ntR.", "other/url": b"http://169.254.169.254/latest/meta-data",
    }.items()  # fmt: skip


def _fuzzed(count: int) -> Iterator[tuple[str, bytes]]:
    """Good pictures with bytes changed, taken out, repeated, or moved from one file into another."""
    draw = random.Random(0)
    good = pictures()
    for number in range(count):
        name = list(good)[number % len(good)]
        data = bytearray(good[name])
        for _ in range(draw.choice((1, 3, 20))):
            first, last = sorted(draw.randrange(4, len(data)) for _ in range(2))
            match draw.randrange(5):
                case 0 | 1:
                    data[first] = draw.randrange(256)
                case 2:
                    data[first : first + 4] = draw.choice((b"\xff\xff\xff\xff", bytes(4), b"\x7f\xff\xff\xff"))
                case 3:
                    del data[first : first + draw.randrange(1, 16)]
                case _:
                    data[first:first] = data[first : min(last, first + 64)]
        yield f"fuzz/{name}-{number}", bytes(data)
