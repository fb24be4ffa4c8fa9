"""Maximal update parametrization of the vision half: what one step changes does not depend on the widths."""

import pytest
import torch
from torch.nn import functional as F
from visual_models import IMAGE, pictures, prompt, visual

from foretell.model.decoder import build_decoder
from foretell.model.parametrization import Parametrization
from foretell.model.primitives import IGNORED

WIDTHS = (32, 128, 512)


def widened(encoder: int, decoder: int, base: int | None):
    vision = {"width": encoder, "heads": encoder // 16, "ffn_width": 2 * encoder, "base_width": base}
    return visual(vision, width=decoder, heads=decoder // 8, kv_heads=decoder // 8, ffn_width=2 * decoder,
                  base_width=base)  # fmt: skip


def moved(encoder: int, decoder: int, base: int | None) -> tuple[float, float, float]:
    """How far a few steps of Adam move the last layer's states, the features and the logits at image and text."""
    config = widened(encoder, decoder, base)
    model = build_decoder(config, 0)
    patches, places = pictures([[(3, 4)]] * 4)
    ids = torch.cat([prompt([2, -12, 6], row) for row in range(4)])
    labels = torch.where(ids[:, 1:] == IMAGE, IGNORED, ids[:, 1:])
    ids = ids[:, :-1]
    named = dict(model.named_parameters())
    optimizer = torch.optim.Adam([
        {"params": [named[n] for n in g.names], "lr": 4e-3 * g.learning_rate_multiplier}
        for g in Parametrization(config).groups(model)
    ])  # fmt: skip
    last: list[torch.Tensor] = []
    model.vision.blocks[-1].register_forward_hook(lambda module, given, out: last.append(out.detach().clone()))

    def observed() -> list[torch.Tensor]:
        last.clear()
        with torch.no_grad():
            features = model.vision(patches, places)
            logits = F.linear(model.hidden(ids, patches=patches, places=places), model.head_weight)
        return [last[0], features, logits * model.output_scale]

    before = observed()
    for _ in range(4):
        optimizer.zero_grad()
        (model.loss(ids, labels, patches=patches, places=places) / (labels != IGNORED).sum()).backward()
        optimizer.step()
    return tuple((b - a).abs().mean().item() for a, b in zip(before, observed(), strict=True))


@pytest.mark.parametrize("which", ["both", "encoder", "decoder"])
def test_coordinate_check(which: str) -> None:
    found = [moved(64 if which == "decoder" else w, 64 if which == "encoder" else w, 64) for w in WIDTHS]
    for part, most in zip(zip(*found, strict=True), (2.5, 2.5, 3.0), strict=True):
        # Logits also move by what the head's initial values read, which falls with the root of the width.
        assert max(part) / min(part) < most, found


def test_without_it_features_run_away() -> None:
    standard = [moved(width, width, None)[1] for width in (32, 512)]
    assert standard[1] / standard[0] > 4, standard


@pytest.mark.parametrize(
    ("text", "std"), [({}, 1.0), ({"tied": True, "base_width": 64}, 1 / 8), ({"tied": True}, 0.051)]
)
def test_features_start_as_large_as_the_embeddings_beside_them(text, std) -> None:
    config = visual({"width": 192, "heads": 12, "ffn_width": 512, "depth": 4},
                    **{"width": 384, **text})  # fmt: skip
    model = build_decoder(config)
    with torch.no_grad():
        features = model.vision(*pictures([[(8, 8)]]))
    assert model.embedding.weight.std().item() == pytest.approx(std, rel=0.02)
    assert std / 1.6 < features.pow(2).mean().sqrt().item() < 1.6 * std


def test_the_encoder_begins_by_what_a_patch_differs_in() -> None:
    """Output after value is near minus the identity: its diagonal stands out of what is off it, which is noise."""
    model = build_decoder(visual({"width": 192, "heads": 12, "ffn_width": 512, "depth": 2}))
    for block in model.vision.blocks:
        value, output = block.attention.qkv.weight[2 * 192 :], block.attention.output.weight
        assert output.std().item() == pytest.approx(0.5 * 192**-0.5, rel=0.02)
        product = output @ value
        assert product.diagonal().mean().item() == pytest.approx(-0.5, rel=0.05)
        assert (product - torch.diag(product.diagonal())).pow(2).mean().sqrt() < 0.1 * 0.5


def test_every_parameter_is_in_one_group_at_its_rate() -> None:
    config = widened(128, 96, 32)
    model = build_decoder(config, device="meta")
    groups = Parametrization(config).groups(model)
    assert sorted(name for group in groups for name in group.names) == sorted(dict(model.named_parameters()))
    rate = {name: group.learning_rate_multiplier for group in groups for name in group.names}
    decayed = {name for group in groups if group.decayed for name in group.names}
    assert rate["vision.patch_norm.weight"] == 1
    assert rate["vision.patch_embedding.weight"] == 32 / config.vision.patch_values < 1
    assert rate["vision.blocks.1.feed_forward.down.weight"] == rate["vision.projector.input.weight"] == 1 / 4
    assert rate["vision.projector.output.weight"] == rate["blocks.0.attention.qkv.weight"] == 1 / 3
    assert {name for name in decayed if name.startswith("vision")} == {
        name for name, p in model.named_parameters()
        if name.startswith("vision") and p.ndim == 2 and "patch" not in name
    }  # fmt: skip


def test_the_encoder_attends_at_the_scale_of_its_parametrization() -> None:
    assert Parametrization(widened(64, 96, 32)).vision_attention_scale == 4 / 16
    assert Parametrization(widened(64, 96, None)).vision_attention_scale == 1 / 4
    assert Parametrization(visual({"head_dim": 8, "heads": 4, "base_width": 32})).vision_attention_scale == 4 / 8
