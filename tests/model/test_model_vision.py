"""The vision half: what features depend on, where they go, what it counts and costs."""

import itertools

import pytest
import torch
from visual_models import IMAGE, TEXT, VISION, pictures, prompt, randomised, visual

from foretell.core.config import build
from foretell.core.errors import UserError
from foretell.core.packing import BRANCHES
from foretell.model.config import ModelConfig, count_parameters, forward_flops_per_token
from foretell.model.decoder import KeyValueCache, build_decoder
from foretell.model.primitives import IGNORED
from foretell.model.vision_config import VisionConfig, vision_flops, vision_training_flops

SIZES = [[(2, 3), (4, 2)], [(3, 3)], [(2, 3), (1, 5), (2, 3)], []]


def test_features_of_a_row_are_those_of_its_images_alone() -> None:
    model = randomised(visual())
    patches, places = pictures(SIZES)
    patches[places[..., 0] < 0] = torch.nan  # padding is not even looked at
    with torch.no_grad():
        found = model.vision(patches, places)
        for row, images in enumerate(SIZES):
            start = 0
            for size in images:
                part = slice(start, start + size[0] * size[1])
                _, alone = pictures([[size]])
                expected = model.vision(patches[row : row + 1, part], alone)
                torch.testing.assert_close(found[row, part], expected[0], rtol=1e-5, atol=1e-5)
                start = part.stop
            assert not found[row, start:].any()


def test_one_image_a_row_without_padding_is_the_same_as_among_others() -> None:
    model = randomised(visual())
    patches, places = pictures([[(3, 4)], [(3, 4)]])
    mixed, among = pictures([[(3, 4), (1, 2)], [(3, 4)]])
    mixed[:, :12] = patches
    with torch.no_grad():
        torch.testing.assert_close(model.vision(mixed, among)[:, :12], model.vision(patches, places))


def test_every_patch_of_an_image_changes_every_feature_of_it_and_its_place_counts() -> None:
    model = randomised(visual())
    patches, places = pictures([[(3, 4), (2, 2)]])
    moved = places.clone()
    moved[0, 5, 1] = 7
    changed = patches.clone()
    changed[0, 5] += 1
    with torch.no_grad():
        before = model.vision(patches, places)
        for after in (model.vision(patches, moved), model.vision(changed, places)):
            difference = (after - before).abs().amax(-1)[0]
            assert difference[:12].min() > 0 == difference[12:].max()


def test_positions_are_relative() -> None:
    model = randomised(visual())
    patches, places = pictures([[(3, 4)]])
    with torch.no_grad():
        shifted = model.vision(patches, places + torch.tensor([0, 11, 5]))
        torch.testing.assert_close(shifted, model.vision(patches, places), rtol=1e-4, atol=1e-4)


def test_features_take_the_places_of_image_tokens_in_order() -> None:
    model = randomised(visual())
    patches, places = pictures([[(2, 3), (1, 2)], [(2, 2)]])
    ids = torch.cat([prompt([2, -6, 1, -2, 3]), prompt([0, -3, 4, -1, 6], 1)])
    with torch.no_grad():
        found, features = model.embed(ids, patches, places), model.vision(patches, places)
        plain = model.embedding(ids)
    assert torch.equal(found[0, 2:8], features[0, :6]) and torch.equal(found[0, 9:11], features[0, 6:8])
    assert torch.equal(found[1, :3], features[1, :3]) and torch.equal(found[1, 7], features[1, 3])
    text = ids != IMAGE
    assert torch.equal(found[text], plain[text])


def test_text_has_the_logits_of_the_text_model() -> None:
    with_images, without = build_decoder(visual(), 3), build_decoder(ModelConfig(**TEXT), 3)
    ids = prompt([20])
    with torch.no_grad():
        assert torch.equal(with_images(ids), without(ids))
        patches, places = pictures([[(2, 3)]])
        mixed = with_images(torch.cat([ids, prompt([-6, 4])], 1), patches=patches, places=places)
    torch.testing.assert_close(mixed[:, :20], without(ids), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("cuts", [(0, 2, 9, 15, 33), (0, 12, 13, 14, 30, 33)])
def test_cached_decoding_equals_one_pass_also_in_the_middle_of_an_image(cuts: tuple[int, ...]) -> None:
    model = randomised(visual())
    patches, places = pictures([[(2, 3), (4, 4)]])
    ids = prompt([3, -6, 2, -16, 6])
    cache = KeyValueCache.empty(model.config, 1, torch.device("cpu"), torch.float32)
    with torch.no_grad():
        expected = model.hidden(ids, patches=patches, places=places)
        features, used, parts = model.vision(patches, places)[0], 0, []
        for start, end in itertools.pairwise(cuts):
            count = int((ids[:, start:end] == IMAGE).sum())
            embedded = model.embed_features(ids[:, start:end], features[used : used + count])
            parts.append(model.states(embedded, cache))
            used += count
        torch.testing.assert_close(torch.cat(parts, 1), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("context", [96, 700])  # both ways of attention
def test_branches_are_read_as_if_the_others_were_not_there(context: int) -> None:
    model = randomised(visual(context=context), 0.1)
    trunk, branches = prompt([3, -6, 2]), [prompt([n], n) for n in (7, 1, context // 4)]
    first = prompt([5], 9)  # another document before it
    ids = torch.cat([first, trunk, *branches], 1)
    lengths = [part.shape[1] for part in (first, trunk, *branches)]
    numbers = torch.tensor([0, *(BRANCHES + branch for branch in range(4))])
    documents = numbers.repeat_interleave(torch.tensor(lengths))
    starts = (0, 0, 11, 11, 11)
    positions = torch.cat([torch.arange(start, start + n) for start, n in zip(starts, lengths, strict=True)])
    patches, places = pictures([[(2, 3)]])
    labels = torch.full_like(ids, IGNORED)
    labels[0, -1] = 4
    with torch.enable_grad():
        found = model.hidden(ids, None, documents[None], positions[None], patches, places)
        start = lengths[0] + lengths[1]
        for branch in branches:
            alone = model.hidden(torch.cat([trunk, branch], 1), patches=patches, places=places)
            torch.testing.assert_close(found[:, start : start + branch.shape[1]], alone[:, 11:], rtol=1e-4, atol=1e-4)
            start += branch.shape[1]
        loss = model.loss(ids, labels, documents[None], positions[None], patches, places)
        labels = torch.full((1, 11 + lengths[-1]), IGNORED)
        labels[0, -1] = 4
        alone = model.loss(torch.cat([trunk, branches[-1]], 1), labels, patches=patches, places=places)
    torch.testing.assert_close(loss, alone, rtol=1e-4, atol=1e-4)
    gradients = [torch.autograd.grad(one, model.vision.patch_embedding.weight)[0] for one in (loss, alone)]
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-5)


def test_gradients_are_those_of_finite_differences() -> None:
    model = randomised(visual(), 0.3).double()
    patches, places = (part for part in pictures([[(2, 3), (1, 2)], [(2, 2)]]))
    patches = patches.double()
    ids = torch.cat([prompt([2, -6, 1, -2, 3]), prompt([3, -4, 7], 1)])
    labels = torch.where(ids == IMAGE, IGNORED, ids)
    names = ("patch_embedding.weight", "patch_norm.weight", "blocks.0.attention.qkv.weight",
             "blocks.1.feed_forward.gate.weight", "projector.input.bias", "projector.output.weight")  # fmt: skip
    model.loss(ids, labels, patches=patches, places=places).backward()
    generator = torch.Generator().manual_seed(0)
    for name in names:
        parameter = model.vision.get_parameter(name)
        direction = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        losses = []
        with torch.no_grad():
            for step in (1e-6, -2e-6):
                parameter += step * direction
                losses.append(model.loss(ids, labels, patches=patches, places=places))
            parameter += 1e-6 * direction
        numeric = float(losses[0] - losses[1]) / 2e-6
        assert numeric == pytest.approx(float((parameter.grad * direction).sum()), rel=1e-5, abs=1e-5), name


@pytest.mark.parametrize(
    ("rows", "pieces", "words"),
    [([[(2, 3)]], [4, -5, 2], "Row 0 of the input has 5 image tokens and 6 patches; a token for each patch"),
     ([[(1, 1)]], [4], "Row 0 of the input has 0 image tokens and 1 patch;")],
)  # fmt: skip
def test_images_and_image_tokens_must_agree(rows, pieces, words) -> None:
    model = randomised(visual())
    with pytest.raises(UserError, match=words):
        model.embed(prompt(pieces), *pictures(rows))
    with pytest.raises(UserError, match="has 2 image tokens and 3 features"):
        model.embed_features(prompt([3, -2]), torch.zeros(3, 24))
    with pytest.raises(UserError, match="the model has no vision half"):
        build_decoder(ModelConfig(**TEXT)).embed(prompt(pieces), *pictures(rows))


def test_damaged_places_and_patches_are_refused() -> None:
    model = randomised(visual())
    patches, places = pictures([[(1, 2), (1, 2)]])
    with pytest.raises(ValueError, match="do not ascend"):
        model.vision(patches, places[:, [0, 2, 1, 3]])
    with pytest.raises(ValueError, match="patches have 47 values; 48 are expected, 3 x 4 x 4"):
        model.vision(patches[..., 1:], places)


def test_parameters_are_counted_in_both_halves() -> None:
    for bias, tied in itertools.product((True, False), repeat=2):
        config = visual({"projector_bias": bias, "depth": 3}, tied=tied)
        model = build_decoder(config)  # asserts the total itself
        counts, text = count_parameters(config), count_parameters(ModelConfig(**TEXT, tied=tied))
        assert counts.vision == sum(parameter.numel() for parameter in model.vision.parameters())
        assert counts.total == text.total + counts.vision
        assert (counts.non_embedding, counts.with_head) == (text.non_embedding, text.with_head)
        assert forward_flops_per_token(config) == forward_flops_per_token(ModelConfig(**TEXT, tied=tied))
    assert "vision" in counts.model_dump() and "vision" not in text.model_dump()


def test_flops_by_hand() -> None:
    vision = VisionConfig(patch=2, width=4, depth=2, heads=1, head_dim=4, ffn_width=5, longest=6, image_token=0)
    # 6 patches of 12 values; q, k, v, o 4 x 4; scores and mixing over 6 patches; three 4 x 5; projector 4 x 7 and 7 x 7
    by_hand = 2 * 6 * (12 * 4 + 2 * (4 * 16 + 2 * 4 * 6 + 3 * 20) + 28 + 49)
    assert vision_flops(vision, 6, 7) == by_hand
    assert vision_training_flops(vision, 6, 7) == 3 * by_hand


def test_flops_are_those_of_pytorchs_counter() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    config = visual({"projector_bias": False})
    model = build_decoder(config)
    patches, places = pictures([[(3, 4)]])
    with FlopCounterMode(display=False) as counter, torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        model.vision(patches, places)
    assert counter.get_total_flops() == vision_flops(config.vision, 12, config.width)


@pytest.mark.parametrize(
    ("change", "words"),
    [({"head_dim": 6}, "head_dim is 6"), ({"heads": 3}, "heads x head_dim must be width; 3 x 16 is not 32"),
     ({"longest": 3}, "longest must be a patch or more; 3 is less than 4"), ({"patch": 0}, "patch is 0")],
)  # fmt: skip
def test_shapes_that_cannot_be_are_refused(change, words) -> None:
    with pytest.raises(UserError, match=words):
        build(VisionConfig, {**VISION, **change})


def test_the_image_token_is_one_of_the_vocabulary() -> None:
    with pytest.raises(UserError, match="image_token must be below vocab_size; 60 is not below 60"):
        build(ModelConfig, {**TEXT, "vocab_size": 60, "vision": VISION})


def test_a_vision_half_travels_through_a_record() -> None:
    config = visual()
    assert ModelConfig.model_validate(config.model_dump(mode="json")) == config
    assert config.digest() != ModelConfig(**TEXT).digest()
    assert "vision" not in ModelConfig(**TEXT).model_dump()


def test_no_gguf_file_holds_a_vision_half() -> None:
    from foretell.model.gguf_write import architecture_of

    with pytest.raises(UserError, match="has a vision half, which a GGUF file does not hold; it can leave as a dir"):
        architecture_of(visual())
