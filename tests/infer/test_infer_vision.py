"""The packed vision half computes what the plain one does, each image to the bit as if it were alone."""

import copy

import pytest
import small_model
import torch

from foretell.infer.blocks import BlockPool
from foretell.infer.packed import pack_decoder
from foretell.infer.packed_vision import pack_vision
from foretell.infer.paged import PagedCache, Span
from foretell.model.decoder import Decoder
from foretell.model.vision_config import VisionConfig

SIZES = [(2, 3), (1, 1), (7, 9), (2, 3), (4, 4), (1, 17)]
SHAPES = [{}, {"width": 24, "heads": 2, "head_dim": 12}, {"width": 32, "heads": 8, "head_dim": 4, "base_width": 16},
          {"projector_bias": False, "patch": 3}]  # fmt: skip
IMAGE = 7


def with_vision(**changes) -> Decoder:
    shape = {"patch": 4, "width": 32, "depth": 2, "heads": 2, "head_dim": 16, "ffn_width": 52, "longest": 64,
             "image_token": IMAGE}  # fmt: skip
    return small_model.decoder(vision=VisionConfig(**{**shape, **changes}))


def images(model: Decoder, sizes: list[tuple[int, int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """One row with images of these heights and widths in patches."""
    places = torch.cat([
        torch.stack((torch.full((h * w,), number), torch.arange(h).repeat_interleave(w), torch.arange(w).repeat(h)), 1)
        for number, (h, w) in enumerate(sizes)
    ])  # fmt: skip
    values = model.config.vision.patch_values
    patches = [torch.randn(h * w, values, generator=torch.Generator().manual_seed(h * 31 + w)) for h, w in sizes]
    return torch.cat(patches)[None], places[None]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_features_are_those_of_the_plain_layers(shape) -> None:
    plain = with_vision(**shape)
    packed = copy.deepcopy(plain)
    pack_vision(packed.vision, small_model.built_kernels())
    patches, places = images(plain, SIZES)
    with torch.inference_mode():
        expected, found = plain.vision(patches, places), packed.vision(patches, places)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_an_image_has_the_same_bits_alone_and_among_others() -> None:
    model = with_vision()
    pack_vision(model.vision, small_model.built_kernels())
    with torch.inference_mode():
        together = model.vision(*images(model, SIZES))[0].split([h * w for h, w in SIZES])
        for size, features in zip(SIZES, together, strict=True):
            assert torch.equal(model.vision(*images(model, [size]))[0], features)


def test_a_prompt_with_images_through_a_paged_cache_equals_one_pass() -> None:
    model, built = with_vision(), small_model.built_kernels()
    patches, places = images(model, [(4, 5), (3, 3)])
    text = torch.randint(8, small_model.VOCABULARY, (3, 6), generator=torch.Generator().manual_seed(0))
    ids = torch.cat([text[0], torch.full((20,), IMAGE), text[1], torch.full((9,), IMAGE), text[2]])[None]
    with torch.inference_mode():
        expected = model(ids, patches=patches, places=places)
        pack_vision(model.vision, built)
        head = pack_decoder(model, built)
        pool = BlockPool(model.config, 2**22, built.lanes)
        blocks = [pool.take() for _ in range(-(-ids.shape[1] // 16))]
        features, used, found = model.vision(patches, places)[0], 0, []
        for start, end in ((0, 3), (3, 17), (17, 30), (30, ids.shape[1])):  # also in the middle of an image
            cache = PagedCache(pool, [Span(start, end - start, blocks[: -(-end // 16)])], built)
            count = int((ids[:, start:end] == IMAGE).sum())
            embedded = model.embed_features(ids[:, start:end], features[used : used + count])
            found.append(head(model.states(embedded, cache)))
            used += count
    torch.testing.assert_close(torch.cat(found, 1), expected, rtol=1e-4, atol=1e-4)
