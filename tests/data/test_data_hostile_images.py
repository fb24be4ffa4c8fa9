"""Whatever bytes come, decoding ends in an RGB picture within the limits or in one sentence."""

import io
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from foretell.core.errors import UserError
from foretell.data.image_decoding import ImageLimits, decode
from foretell.data.image_structure import picture_of
from hostile_images import COUNT, hostile_images, must_be_refused, pictures

SMALL = ImageLimits(bytes=100_000, pixels=1_000_000)
GOOD = pictures()
KINDS = {"png": "PNG", "jpeg": "JPEG", "webp": "WebP", "gif": "GIF", "bmp": "BMP"}


def outcome(data: bytes, limits: ImageLimits = SMALL) -> Image.Image | str:
    try:
        image = decode(data, limits, "x.png")
    except UserError as error:
        sentence = str(error)
        assert sentence.startswith("x.png ") and sentence.endswith(".") and "\n" not in sentence
        return sentence
    assert image.mode == "RGB" and image.width * image.height <= limits.pixels
    return image


def test_the_corpus_is_whole():
    found = hostile_images()
    assert len(found) == COUNT == len({name for name, _ in found}) and found == hostile_images()
    assert all(isinstance(outcome(data), Image.Image) for data in GOOD.values())


@pytest.mark.parametrize(("name", "data"), [pytest.param(*file, id=file[0]) for file in hostile_images()])
def test_hostile_files(name, data):
    found = outcome(data, ImageLimits())
    assert isinstance(found, str) or not must_be_refused(name)


@given(st.binary(max_size=300), st.sampled_from(["", *KINDS]))
def test_random_bytes_behind_any_signature(data, kind):
    outcome(GOOD[kind][:12] + data if kind else data)


@given(st.sampled_from(sorted(GOOD)), st.data())
def test_mutated_files(name, data):
    changed = bytearray(GOOD[name])
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(changed) - 1))
        changed[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    outcome(bytes(changed))


@given(st.sampled_from(sorted(GOOD)), st.floats(0, 1))
def test_truncated_files(name, share):
    outcome(GOOD[name][: int(share * len(GOOD[name]))])


@pytest.mark.parametrize("name", sorted(GOOD))
def test_a_file_without_its_surroundings_is_the_same_picture(name):
    kind = KINDS[name.split("-")[0]]
    picture, _ = picture_of(kind, GOOD[name])
    assert len(picture) <= len(GOOD[name])
    ours, theirs = (Image.open(io.BytesIO(data)).convert("RGBA") for data in (picture, GOOD[name]))
    assert ours.tobytes() == theirs.tobytes()


@pytest.mark.parametrize(("words", "data"), [
    ("is empty", b""), ("is a PDF document", b"%PDF-1.4"), ("is an SVG drawing", b"\xef\xbb\xbf <svg/>"),
    ("is a TIFF image", b"II*\0"), ("is a HEIC image", b"\0\0\0\x18ftypheic"), ("is a video", b"\0\0\0\x18ftypmp42"),
    ("is an HTML page", b"\n<html>"), ("is no image of a known format", b"hello"),
])  # fmt: skip
def test_other_files_are_called_by_their_names(words, data):
    assert outcome(data) == f"x.png {words}; PNG, JPEG, WebP, GIF and BMP are accepted."


def test_bombs_take_no_memory():
    """All of the corpus in a process of its own that may take a gigabyte."""
    code = (
        "import resource, sys\n"
        "from foretell.core.errors import UserError\n"
        "from foretell.data.image_decoding import decode\n"
        "from hostile_images import hostile_images\n"
        "assert 'torch' not in sys.modules\n"
        "files = hostile_images()\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for _, data in files:\n"
        "    try:\n"
        "        decode(data)\n"
        "    except UserError:\n"
        "        pass\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    limit = (1 << 30, 1 << 30)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=Path(__file__).parents[1],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, limit),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 150_000, "kilobytes"
