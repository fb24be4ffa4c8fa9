"""Both peers of ``foretell bench vision`` are asked the same and answer the same."""

import importlib.util

import numpy as np
import pytest
import torch
from PIL import Image
from small_model import built_kernels

from foretell.core.errors import UserError
from foretell.infer.bench_vision import (
    END_ID,
    LINE_ID,
    PARTS,
    PATCH_ID,
    bench_shape,
    bench_vision,
    foretell_peer,
    ids_of,
    patches_of,
    transformers_peer,
    work_of,
)
from foretell.model.decoder import build_decoder
from foretell.model.hf import save_hf


def test_ids_lay_an_image_out_in_lines() -> None:
    line = [PATCH_ID, PATCH_ID, LINE_ID]
    expected = [*line, *line[:-1], END_ID, *line[:-2], END_ID, 7, 8]
    assert ids_of([(2, 2), (1, 1)], (7, 8)).tolist() == [expected]


def test_patches_are_those_of_their_processor(tmp_path) -> None:
    transformers = pytest.importorskip("transformers")
    if importlib.util.find_spec("torchvision") is not None:
        pytest.skip("torchvision resizes by other weights than PIL")
    config = bench_shape("small")
    save_hf(build_decoder(config), tmp_path)
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path)
    generator = np.random.default_rng(0)
    for height, width in ((128, 128), (40, 61), (300, 77), (5, 9)):
        image = Image.fromarray(generator.integers(0, 256, (height, width, 3), dtype=np.uint8))
        patches, places = patches_of(image, config.vision)
        found = processor(images=[image], return_tensors="pt")
        rows, columns = (int(side) // 8 for side in found["image_sizes"][0])
        assert places.tolist() == [[row, column] for row in range(rows) for column in range(columns)]
        cut = torch.as_tensor(found["pixel_values"][0]).unfold(1, 8, 8).unfold(2, 8, 8).permute(1, 2, 0, 3, 4)
        torch.testing.assert_close(torch.from_numpy(patches), cut.reshape(rows * columns, -1), rtol=1e-4, atol=1e-4)


def test_both_peers_give_the_same_logits(tmp_path) -> None:
    pytest.importorskip("transformers")
    built_kernels()
    config = bench_shape("small")
    save_hf(build_decoder(config), tmp_path)
    work = work_of(config, 1)
    ours, theirs = (peer(str(tmp_path), 1)(work) for peer in (foretell_peer, transformers_peer))
    np.testing.assert_allclose(ours.logits, theirs.logits, rtol=1e-4, atol=1e-4)
    for done in (ours, theirs):
        assert tuple(done.seconds) == PARTS and all(value > 0 for value in done.seconds.values())
        assert done.seconds["all"] == pytest.approx(sum(done.seconds[part] for part in PARTS[:-1]))


def test_what_it_refuses() -> None:
    pytest.importorskip("transformers")
    with pytest.raises(UserError, match="--shapes has 'large'; small and smollm2 are known"):
        bench_vision(["large"], 3)
    with pytest.raises(UserError, match="--rounds is 2; at least 3"):
        bench_vision(["small"], 2)
