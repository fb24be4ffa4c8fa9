"""Pictures as other libraries see them: decoding, resizing and patches against Pillow's and transformers' own."""

import io
import struct
import sys
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from foretell.core.errors import UserError
from foretell.data.image_decoding import ImageLimits, decode
from foretell.data.images import (
    ImageTokens,
    normalised,
    patch_bytes,
    patches_of,
    places_of,
    prepare,
    prepared_size,
)

RANDOM = np.random.default_rng(0)
PICTURE = Image.fromarray(RANDOM.integers(0, 256, (37, 53, 3), np.uint8))


def file_of(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    target = io.BytesIO()
    image.save(target, kind, **options)
    return target.getvalue()


def png(width: int, height: int, depth: int, colour: int, rows: bytes, **chunks: bytes) -> bytes:
    """A PNG as its parts; Pillow writes none of 2 bits, or of 16 with transparency."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = {"IHDR": header, **chunks, "IDAT": zlib.compress(rows), "IEND": b""}
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name.encode() + data + struct.pack(">I", zlib.crc32(name.encode() + data))
        for name, data in parts.items()
    )


def array(data: bytes) -> np.ndarray:
    image = decode(data)
    assert image.mode == "RGB"
    return np.asarray(image)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "WEBP", "JPEG", "GIF"])
def test_formats_have_pillows_pixels(kind):
    data = file_of(PICTURE, kind, **({"lossless": True} if kind == "WEBP" else {}))
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert (array(data) == expected).all()
    assert kind == "JPEG" or kind == "GIF" or (expected == np.asarray(PICTURE)).all()


def test_progressive_and_grey_and_cmyk_jpegs():
    for image in (PICTURE, PICTURE.convert("L"), PICTURE.convert("CMYK")):
        data = file_of(image, "JPEG", progressive=True, quality=95)
        assert (array(data) == np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))).all()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_as_pillow_applies_it(kind, orientation):
    exif = Image.Exif()
    exif[0x010F] = "A camera"
    exif[0x0112] = orientation
    data = file_of(PICTURE, kind, exif=exif)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    assert (array(data) == np.asarray(expected)).all()


@pytest.mark.parametrize("exif", [b"", b"II*\0", b"MM\0*\0\0\0\x08\xff\xff", b"II*\0\xff\xff\xff\xff" + bytes(9)])
def test_damaged_exif_spoils_no_picture(exif):
    assert (array(png(1, 1, 8, 2, b"\0abc", eXIf=exif)) == list(b"abc")).all()


def test_transparency_is_laid_on_white():
    alpha = Image.fromarray(RANDOM.integers(0, 256, (37, 53), np.uint8))
    rgba = PICTURE.copy()
    rgba.putalpha(alpha)
    colour, share = np.asarray(PICTURE).astype(float), np.asarray(alpha)[..., None] / 255
    for kind in ("PNG", "WEBP"):
        found = array(file_of(rgba, kind, **({"lossless": True, "exact": True} if kind == "WEBP" else {})))
        assert np.abs(found - (colour * share + 255 * (1 - share))).max() <= 1
    grey = PICTURE.convert("L")
    grey.putalpha(alpha)
    level = np.asarray(PICTURE.convert("L")).astype(float)[..., None]
    assert np.abs(array(file_of(grey)) - (level * share + 255 * (1 - share))).max() <= 1


def test_palettes_with_one_clear_colour_and_with_alphas():
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 200, 100, 50])
    palette.putpixel((1, 0), 1)
    assert array(file_of(palette)).tolist() == [[[10, 20, 30], [200, 100, 50]]]
    for kind in ("PNG", "GIF"):
        assert array(file_of(palette, kind, transparency=1)).tolist() == [[[10, 20, 30], [255, 255, 255]]]
    half = array(file_of(palette, transparency=b"\x80\x00"))
    assert np.abs(half - [[[132, 137, 142], [255, 255, 255]]]).max() <= 1


def test_few_bits_and_sixteen():
    assert array(png(8, 1, 1, 0, b"\0\xa5"))[0, :, 0].tolist() == [255, 0, 255, 0, 0, 255, 0, 255]
    assert array(png(4, 1, 2, 0, b"\0\x1b"))[0, :, 0].tolist() == [0, 85, 170, 255]
    values = [0, 128, 129, 257, 32768, 65535]
    data = png(6, 1, 16, 0, b"\0" + struct.pack(">6H", *values))
    assert array(data)[0, :, 1].tolist() == [round(value / 257) for value in values]
    colour = png(1, 1, 16, 2, b"\0" + struct.pack(">3H", 65535, 32896, 0))
    assert array(colour).tolist() == [[[255, 128, 0]]]


def test_a_clear_colour_of_any_depth():
    white = [255, 255, 255]
    assert array(png(8, 1, 1, 0, b"\0\xa5", tRNS=b"\0\0")).tolist() == [[white] * 8]
    assert array(png(4, 1, 2, 0, b"\0\x1b", tRNS=b"\0\1"))[0, :, 0].tolist() == [0, 255, 170, 255]
    assert array(png(2, 1, 4, 0, b"\0\x3f", tRNS=b"\0\3"))[0, :, 0].tolist() == [255, 255]
    assert array(png(2, 1, 8, 0, b"\0\x07\x08", tRNS=b"\0\7"))[0, :, 0].tolist() == [255, 8]
    deep = png(2, 1, 16, 0, b"\0" + struct.pack(">2H", 300, 2570), tRNS=struct.pack(">H", 300))
    assert array(deep)[0, :, 0].tolist() == [255, 10]
    assert array(png(2, 1, 8, 2, b"\0abcdef", tRNS=b"\0a\0b\0c")).tolist() == [[white, list(b"def")]]
    key = struct.pack(">3H", 0x6161, 0x6262, 0x6363)
    assert array(png(2, 1, 16, 2, b"\0" + key + b"ddeeff", tRNS=key)).tolist() == [[white, list(b"def")]]


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_frame_counts(kind):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "lime")]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = file_of(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert (array(data) == [255, 0, 0]).all()


def test_a_gif_frame_smaller_than_its_canvas():
    data = bytearray(file_of(Image.new("RGB", (4, 4), "red"), "GIF"))
    data[6:10] = struct.pack("<HH", 6, 5)
    expected = Image.open(io.BytesIO(data)).convert("RGBA")
    white = Image.new("RGBA", expected.size, "white")
    assert (array(bytes(data)) == np.asarray(Image.alpha_composite(white, expected).convert("RGB"))).all()


def test_limits_name_what_was_found():
    with pytest.raises(UserError, match=r"^a.png has 10 bytes; at most 9 are accepted\.$"):
        decode(bytes(10), ImageLimits(bytes=9), "a.png")
    with pytest.raises(UserError, match=r"53 x 37 pixels; at most 1,960 in all are accepted"):
        decode(file_of(PICTURE), ImageLimits(pixels=1960))
    assert decode(file_of(PICTURE), ImageLimits(pixels=1961)).size == (53, 37)
    with pytest.raises(UserError, match="sides that differ by a factor of at most 200"):
        decode(file_of(Image.new("RGB", (1, 201))))
    assert decode(file_of(Image.new("RGB", (1, 200)))).size == (1, 200)


def test_prepared_pixels_are_transformers_own():
    module = pytest.importorskip("transformers.models.pixtral.image_processing_pil_pixtral")
    for width, height, patch, longest in [(53, 37, 16, 64), (300, 200, 16, 256), (1000, 31, 14, 224), (7, 5, 16, 64),
                                          (640, 480, 32, 128), (64, 64, 16, 64), (257, 255, 16, 256)]:  # fmt: skip
        image = Image.fromarray(RANDOM.integers(0, 256, (height, width, 3), np.uint8))
        theirs = module.PixtralImageProcessorPil(
            size={"longest_edge": longest}, patch_size={"height": patch, "width": patch}
        )
        bare = theirs(image, do_rescale=False, do_normalize=False, return_tensors="np")["pixel_values"][0]
        pixels = prepare(image, patch, longest)
        assert (pixels == bare.transpose(1, 2, 0)).all() and pixels.shape[:2] == bare.shape[1:]
        whole = theirs(image, return_tensors="pt")
        patches, places = patches_of(pixels, patch)
        rows, columns = prepared_size(width, height, patch, longest)
        assert whole["image_sizes"][0].tolist() == [rows * patch, columns * patch]
        back = patches.reshape(rows, columns, 3, patch, patch).transpose(2, 0, 3, 1, 4).reshape(3, rows * patch, -1)
        assert (back == whole["pixel_values"][0].numpy()).all(), "bit for bit"
        assert places.tolist() == [[row, column] for row in range(rows) for column in range(columns)]


def test_patches_are_in_the_order_of_a_convolutions_weight():
    torch = pytest.importorskip("torch")
    pixels = prepare(PICTURE, 8, 48)
    weight = torch.randn(5, 3, 8, 8)
    patches, _ = patches_of(pixels, 8)
    whole = torch.from_numpy(patches_of(pixels, 1)[0]).reshape(*pixels.shape).permute(2, 0, 1)
    expected = torch.nn.functional.conv2d(whole[None], weight, stride=8)[0].flatten(1).T
    assert torch.allclose(torch.from_numpy(patches) @ weight.flatten(1).T, expected, atol=1e-4)


@given(st.integers(1, 3000), st.integers(1, 3000), st.sampled_from([1, 8, 14, 16, 32]), st.integers(32, 2000))
def test_a_picture_grows_only_to_whole_patches(width, height, patch, longest):
    rows, columns = prepared_size(width, height, patch, longest)
    assert min(rows, columns) >= 1
    assert max(rows, columns) * patch < longest + patch
    assert rows * patch < height + patch and columns * patch < width + patch


def test_extreme_sides_keep_one_patch():
    assert prepare(Image.new("RGB", (2000, 1)), 16, 64).shape == (16, 64, 3)


def test_bytes_are_kept_for_later():
    pixels = prepare(PICTURE, 8, 48)
    stored = patch_bytes(pixels, 8)
    assert stored.dtype == np.uint8 and stored.shape == (30, 192) and pixels.flags.writeable
    assert (normalised(stored) == patches_of(pixels, 8)[0]).all()
    assert np.allclose(normalised(np.full((1, 3), 255, np.uint8), (0.5,) * 3, (0.25,) * 3), 2)
    assert normalised(stored[:0]).shape == (0, 192) and places_of(2, 1).tolist() == [[0, 0], [1, 0]]


def test_runs_are_pixtrals_replacement(monkeypatch):
    pil = pytest.importorskip("transformers.models.pixtral.image_processing_pil_pixtral")
    # The processor's module wants torchvision for a function that the other image processor has as well.
    monkeypatch.setitem(sys.modules, "transformers.models.pixtral.image_processing_pixtral", pil)
    from transformers.models.pixtral.processing_pixtral import PixtralProcessor

    class Processor:
        patch_size, spatial_merge_size = 16, 2
        image_token, image_break_token, image_end_token = "I", "B", "E"

    tokens = ImageTokens(0, 1, 2)
    for rows, columns in [(1, 1), (1, 4), (3, 1), (3, 5)]:
        inputs = {"image_sizes": [(rows * 32, columns * 32)]}
        expected = PixtralProcessor.replace_image_token(Processor, inputs, 0)
        assert "".join("IBE"[number] for number in tokens.run(rows, columns)) == expected


def test_each_image_token_becomes_its_run():
    tokens = ImageTokens(7, 8, 9)
    assert tokens.expand([1, 7, 2, 7], [(1, 2), (2, 1)]) == [1, 7, 7, 9, 2, 7, 8, 7, 9]
    assert tokens.expand([1, 2], []) == [1, 2]
    with pytest.raises(UserError, match="2 image tokens, and there are 1 images"):
        tokens.expand([7, 7], [(1, 1)])
