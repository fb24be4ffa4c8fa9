"""Small changes to images: none that changes an answer, the same ones again from the same seed, off by default."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from foretell.core.config import build
from foretell.core.errors import UserError
from foretell.data.visual.augment import AugmentConfig, augment, varied
from foretell.data.visual.config import VisualConfig, VisualSourceConfig
from foretell.data.visual.encode import VisualEncoder
from foretell.data.visual.freeze import freeze_visual
from foretell.data.visual.generator import GeneratorConfig, write_folder
from foretell.data.visual.store import VisualSet
from visual_documents import documents, visual_tokenizer

OFF = {"shrink": 0, "brightness": 0, "contrast": 0, "noise": 0, "jpeg": 100}


def quadrants(image: Image.Image) -> list[int]:
    """The dominant channel of each quarter, row by row."""
    values = np.asarray(image, float)
    rows, columns = values.shape[0] // 2, values.shape[1] // 2
    parts = [values[r : r + rows, c : c + columns] for r in (0, rows) for c in (0, columns)]
    return [int(part.mean((0, 1)).argmax()) for part in parts]


@given(st.integers(0, 2**32), st.integers(8, 90), st.integers(8, 90))
def test_left_stays_left_and_red_stays_red(seed, width, height):
    pixels = np.zeros((height, width, 3), np.uint8)
    for number, channel in enumerate([0, 1, 2, 1]):
        rows, columns = divmod(number, 2)
        part = (slice(rows * (height // 2), None), slice(columns * (width // 2), None))
        pixels[part] = np.eye(3, dtype=np.uint8)[channel] * 180 + 40
    image = Image.fromarray(pixels)
    changed = augment(image, np.random.default_rng(seed), AugmentConfig(shrink=0.2))
    assert changed.size == image.size and changed.mode == "RGB"
    assert quadrants(changed) == quadrants(image) == [0, 1, 2, 1]


@given(st.integers(0, 2**32))
def test_nothing_at_the_edge_is_lost(seed):
    image = Image.new("RGB", (60, 40))
    for corner in ((0, 0), (56, 0), (0, 36), (56, 36)):
        image.paste((255, 255, 255), (*corner, corner[0] + 4, corner[1] + 4))
    changed = augment(image, np.random.default_rng(seed), build(AugmentConfig, {**OFF, "shrink": 0.3}))
    bright = np.asarray(changed)[..., 0] > 100
    for part in (bright[:20, :30], bright[:20, 30:], bright[20:, :30], bright[20:, 30:]):
        assert part.sum() >= 4


def test_without_changes_an_image_is_itself():
    (document,) = documents(1)
    changed = augment(document.images[0], np.random.default_rng(0), build(AugmentConfig, OFF))
    assert changed.tobytes() == document.images[0].tobytes()


def test_versions_differ_and_come_again():
    (document,) = documents(1)
    config = AugmentConfig(variants=3)
    first, again, other = varied(document, 0, config), varied(document, 0, config), varied(document, 1, config)
    seen = [version.images[0].tobytes() for version in (*first, *other)]
    assert [version.images[0].tobytes() for version in again] == seen[:3] and len(set(seen)) == 6
    assert all(version.exchanges == document.exchanges for version in first)


def test_only_training_images_are_changed(tmp_path):
    write_folder(GeneratorConfig(levels=1, size={"scenes": 48}), "train", 30, tmp_path / "drawn")
    counts = {}
    for augmented in (None, AugmentConfig(variants=2)):
        source = VisualSourceConfig(path=str(tmp_path / "drawn"), heldout_share=0.3, augment=augmented)
        folder = tmp_path / str(augmented is None)
        encoder = VisualEncoder.of(visual_tokenizer(), patch=8, longest=32)
        freeze_visual(VisualConfig(sources=(source,), room=400), 0, encoder, folder, 1)
        counts[augmented is None] = [VisualSet(folder, split).counts for split in ("train", "heldout")]
    assert counts[False][1] == counts[True][1]
    assert counts[False][0]["documents"] == 2 * counts[True][0]["documents"]
    assert counts[False][0]["digest"] != counts[True][0]["digest"]


def test_drawn_images_are_left_to_the_generator():
    with pytest.raises(UserError, match="augment is for the images of a path"):
        build(VisualSourceConfig, {"generator": {}, "augment": {}})
