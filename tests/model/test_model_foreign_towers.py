"""Llava with CLIP's and SigLIP's encoders comes in, transformers running the encoder, with the same logits."""

import builtins
import json

import pytest
import torch
from visual_models import IMAGE, prompt, randomised, visual

from foretell.core.errors import UserError
from foretell.model.config import count_parameters
from foretell.model.decoder import KeyValueCache, build_decoder
from foretell.model.hf import load_hf, save_hf
from foretell.model.llava_config import config_from_llava
from foretell.model.lora import Adapter, LoRAConfig
from foretell.model.parametrization import Parametrization

TEXT = {"model_type": "llama", "vocab_size": 61, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 8, "intermediate_size": 40, "max_position_embeddings": 128}  # fmt: skip
TOWER = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 2,
         "image_size": 30, "patch_size": 7}  # fmt: skip
KINDS = {
    "clip": ({"model_type": "clip_vision_model"}, {}),  # transformers' own layer, the last but one, and "default"
    "clip-layers": ({"model_type": "clip_vision_model", "hidden_act": "gelu"}, {"vision_feature_layer": [0, -1]}),
    "siglip": ({"model_type": "siglip_vision_model"}, {"vision_feature_layer": -1,
                                                       "vision_feature_select_strategy": "full"}),
    "siglip-headless": ({"model_type": "siglip_vision_model", "vision_use_head": False},
                        {"vision_feature_select_strategy": "full", "multimodal_projector_bias": False}),
}  # fmt: skip
PIECES = [3, -16, 2, -16, 5]  # two images of 4 x 4 patches


def theirs_of(kind: str):
    transformers = pytest.importorskip("transformers")
    tower, whole = KINDS[kind]
    config = transformers.LlavaConfig(vision_config={**TOWER, **tower}, text_config=TEXT,
                                      **{"image_token_index": IMAGE, **whole})  # fmt: skip
    torch.manual_seed(0)
    model = transformers.LlavaForConditionalGeneration(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.2)
    return model


def images() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Two images as [2, 3, 30, 30] pixels, and as patches and places of one row."""
    pixels = torch.randn(2, 3, 30, 30, generator=torch.Generator().manual_seed(0))
    cut = pixels[:, :, :28, :28].unfold(2, 7, 7).unfold(3, 7, 7).permute(0, 2, 3, 1, 4, 5)
    places = torch.cartesian_prod(torch.arange(2), torch.arange(4), torch.arange(4))
    return pixels, cut.reshape(1, 32, -1), places[None]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("old_names", [False, True])
def test_they_come_in_with_the_same_logits(tmp_path, kind: str, old_names: bool) -> None:
    from safetensors.torch import load_file, save_file

    theirs = theirs_of(kind)
    theirs.save_pretrained(tmp_path)
    if old_names:  # before transformers 5
        state = load_file(tmp_path / "model.safetensors")
        renamed = {name.replace("vision_tower.", "vision_tower.vision_model."): state[name] for name in state}
        renamed["vision_tower.vision_model.embeddings.position_ids"] = torch.arange(17)[None]
        save_file(renamed, tmp_path / "model.safetensors")
    ours = load_hf(tmp_path)
    pixels, patches, places = images()
    ids = prompt(PIECES)
    with torch.no_grad():
        expected = theirs(input_ids=ids, pixel_values=pixels).logits
        torch.testing.assert_close(ours(ids, patches=patches, places=places), expected, rtol=1e-4, atol=1e-4)
        cache = KeyValueCache.empty(ours.config, 1, torch.device("cpu"), torch.float32)
        features, used, parts = ours.vision(patches, places)[0], 0, []
        for start, end in ((0, 8), (8, 30), (30, 42)):
            count = int((ids[:, start:end] == IMAGE).sum())
            embedded = ours.embed_features(ids[:, start:end], features[used : used + count])
            parts.append(ours.states(embedded, cache) @ ours.head_weight.t())
            used += count
        torch.testing.assert_close(torch.cat(parts, 1), expected, rtol=1e-4, atol=1e-4)
    assert count_parameters(ours.config).vision == sum(p.numel() for p in ours.vision.parameters())


def test_padding_counts_nothing_the_projector_learns_and_the_encoder_does_not(tmp_path) -> None:
    theirs_of("clip").save_pretrained(tmp_path)
    model = load_hf(tmp_path)
    _, patches, places = images()
    rows = torch.cat([patches, patches.flip(1)])
    at = torch.cat([places, places])
    at[1, 16:] = -1
    ids = torch.cat([prompt(PIECES), prompt([3, -16, 23])])
    model.loss(ids, ids, patches=rows, places=at).backward()
    learned = {name for name, parameter in model.vision.named_parameters() if parameter.grad is not None}
    assert learned and all(name.startswith("projector.") for name in learned)
    with torch.no_grad():
        found = model.vision(rows, at)
        torch.testing.assert_close(found[1, :16], model.vision(rows[1:, :16], at[1:, :16])[0], rtol=1e-4, atol=1e-5)
    assert not found[1, 16:].any()
    adapter = Adapter(model.config, LoRAConfig(targets="all-linear"))
    adapter.attach(model)
    assert all(site.module.startswith("blocks.") for site in adapter.sites)


def test_an_optimizer_has_no_part_of_the_encoder(tmp_path) -> None:
    theirs_of("clip").save_pretrained(tmp_path)
    model = load_hf(tmp_path)
    names = [name for group in Parametrization(model.config).groups(model) for name in group.names]
    assert sorted(names) == sorted(name for name, _ in model.named_parameters() if ".tower." not in name)


def test_images_of_another_size_are_refused(tmp_path) -> None:
    theirs_of("clip").save_pretrained(tmp_path)
    model = load_hf(tmp_path)
    _, patches, places = images()
    with pytest.raises(UserError, match="images of 30 x 30 pixels, cut into 4 x 4 patches, and was given another"):
        model.vision(patches[:, :12], places[:, :12])


HF = {"model_type": "llava", "text_config": TEXT, "vision_config": {**TOWER, "model_type": "clip_vision_model"},
      "image_token_index": IMAGE}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "words"),
    [({"vision_feature_select_strategy": "full"}, "vision_feature_select_strategy is 'full'; 'default' is read"),
     ({"vision_config": {**TOWER, "model_type": "siglip_vision_model"}}, "is 'default'; 'full' is read"),
     ({"vision_feature_layer": "last"}, "vision_feature_layer is 'last'; whole numbers from -4 to 3 are read"),
     ({"vision_feature_layer": [1, 4]}, r"vision_feature_layer is \[1, 4\]; whole numbers from -4 to 3"),
     ({"vision_config": {**TOWER, "num_channels": 1, "model_type": "clip_vision_model"}}, "num_channels is 1; 3")],
)  # fmt: skip
def test_keys_that_change_the_result_are_refused(change, words) -> None:
    with pytest.raises(UserError, match=words):
        config_from_llava({**HF, **change})


def test_sizes_left_out_are_those_of_transformers() -> None:
    transformers = pytest.importorskip("transformers")
    for kind, strategy in (("clip_vision_model", "default"), ("siglip_vision_model", "full")):
        values = {**HF, "vision_config": {"model_type": kind}, "vision_feature_select_strategy": strategy}
        whole = transformers.LlavaConfig(**{key: value for key, value in values.items() if key != "model_type"})
        ours, theirs = (config_from_llava(v).vision for v in (values, json.loads(whole.to_json_string())))
        assert ours.model_dump(exclude={"foreign"}) == theirs.model_dump(exclude={"foreign"})


def test_pixels_are_prepared_as_the_file_says(tmp_path) -> None:
    theirs_of("siglip").save_pretrained(tmp_path)
    assert load_hf(tmp_path).config.vision.foreign.mean == (0.5, 0.5, 0.5)
    path = tmp_path / "preprocessor_config.json"
    values = {"image_processor_type": "SiglipImageProcessor", "size": {"height": 30, "width": 30}, "resample": 3,
              "image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 0.5, 0.6]}  # fmt: skip
    path.write_text(json.dumps(values))
    foreign = load_hf(tmp_path).config.vision.foreign
    assert foreign.mean == (0.1, 0.2, 0.3) and foreign.deviation == (0.5, 0.5, 0.6) and not foreign.crop
    path.write_text(json.dumps({**values, "size": {"height": 60, "width": 60}}))
    with pytest.raises(UserError, match=r"size is .*60.*; .*30.* is read"):
        load_hf(tmp_path)


def test_it_does_not_leave_and_is_not_drawn(tmp_path) -> None:
    theirs_of("clip").save_pretrained(tmp_path / "in")
    model = load_hf(tmp_path / "in")
    with pytest.raises(UserError, match="a clip_vision_model; such a model is read and not written"):
        save_hf(model, tmp_path / "out")
    with pytest.raises(UserError, match="comes with a checkpoint; its weights are not drawn"):
        build_decoder(model.config)


def test_without_transformers_it_is_said_what_is_missing(tmp_path, monkeypatch) -> None:
    theirs_of("clip").save_pretrained(tmp_path)
    real = builtins.__import__

    def without(name, *rest, **named):
        if name.split(".")[0] == "transformers":
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match="is a clip_vision_model, which transformers runs: pip install 'foretell"):
        load_hf(tmp_path)


def test_records_of_other_shapes_do_not_show_it() -> None:
    assert "foreign" not in visual().model_dump()["vision"] and randomised(visual()).vision is not None
