"""transformers' Llava with a Pixtral tower comes in and leaves again with the same logits."""

import json

import pytest
import torch
from visual_models import IMAGE, pictures, prompt, randomised, visual

from foretell.core.errors import UserError
from foretell.core.files import read_json
from foretell.core.pixels import PIXEL_DEVIATION, PIXEL_MEAN
from foretell.model.hf import load_hf, save_hf
from foretell.model.llava_config import config_from_llava, config_to_llava

SIZES = [(2, 3), (8, 8), (1, 5)]  # of images, in patches of 4 pixels
PIECES = [3, -6, 2, -64, -5, 6]
TOWER = {"model_type": "pixtral", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
         "num_attention_heads": 2, "image_size": 32, "patch_size": 4, "hidden_act": "silu",
         "initializer_range": 0.2}  # fmt: skip
TEXT = {"model_type": "llama", "vocab_size": 61, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 8, "intermediate_size": 40, "max_position_embeddings": 128,
        "initializer_range": 0.2}  # fmt: skip
WHOLE = {"image_token_index": IMAGE, "vision_feature_layer": -1, "vision_feature_select_strategy": "full",
         "image_seq_length": 64}  # fmt: skip
KINDS = {
    "llama": ({}, {}, {}),
    "tied": ({"tie_word_embeddings": True}, {}, {"tie_word_embeddings": True}),
    "qwen2": ({"model_type": "qwen2"}, {"rope_parameters": {"rope_type": "axial", "rope_theta": 50.0}}, {}),
    "mistral": ({"model_type": "mistral", "sliding_window": 7}, {}, {"multimodal_projector_bias": False}),
}


def theirs_of(kind: str):
    transformers = pytest.importorskip("transformers")
    text, tower, whole = KINDS[kind]
    config = transformers.LlavaConfig(vision_config={**TOWER, **tower}, text_config={**TEXT, **text},
                                      **{**WHOLE, **whole})  # fmt: skip
    torch.manual_seed(0)
    model = transformers.LlavaForConditionalGeneration(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:  # gains of one and biases of zero would hide a mix-up
                parameter.add_(torch.randn(parameter.shape) * 0.3)
            else:  # some classes ignore initializer_range
                parameter.copy_(torch.randn(parameter.shape) * 0.2)
    return model


def pixels(patches: torch.Tensor) -> dict[str, torch.Tensor]:
    """The images of [1, P, C] patches, SIZES of them, as transformers takes them: padded to one size, and the sizes."""
    whole = torch.zeros(len(SIZES), 3, 32, 32)
    start = 0
    for number, (height, width) in enumerate(SIZES):
        part = patches[0, start : start + height * width].view(height, width, 3, 4, 4)
        whole[number, :, : 4 * height, : 4 * width] = part.permute(2, 0, 3, 1, 4).flatten(3, 4).flatten(1, 2)
        start += height * width
    return {"pixel_values": whole, "image_sizes": torch.tensor(SIZES) * 4}


def assert_same_logits(ours, theirs, tolerance: float = 1e-4) -> None:
    ids = prompt(PIECES)
    patches, places = pictures([SIZES])
    with torch.no_grad():
        found = ours(ids, patches=patches, places=places)
        expected = theirs(input_ids=ids, **pixels(patches)).logits
        torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
        torch.testing.assert_close(ours(ids), theirs(input_ids=ids).logits, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kind", KINDS)
def test_theirs_come_in_and_leave_again_with_the_same_logits(tmp_path, kind: str) -> None:
    transformers = pytest.importorskip("transformers")
    theirs = theirs_of(kind)
    theirs.save_pretrained(tmp_path / "in", max_shard_size="20KB")
    ours = load_hf(tmp_path / "in")
    assert_same_logits(ours, theirs)
    save_hf(ours, tmp_path / "out", {"eos_token_id": 7})
    again, report = transformers.LlavaForConditionalGeneration.from_pretrained(
        tmp_path / "out", output_loading_info=True
    )
    assert not any(report.values()), report
    assert again.generation_config.eos_token_id == 7
    assert_same_logits(ours, again.eval())
    one, other = load_hf(tmp_path / "out"), ours
    assert one.config == other.config
    for name, tensor in one.state_dict().items():
        torch.testing.assert_close(tensor, other.state_dict()[name], msg=name)


@pytest.mark.parametrize(
    "options", [{}, {"base_width": 16}, {"base_width": 16, "qk_norm": True, "tied": True}, {"heads": 3, "kv_heads": 1}]
)
def test_ours_leave_with_the_same_logits(tmp_path, options) -> None:
    transformers = pytest.importorskip("transformers")
    encoder = {"base_width": options.get("base_width"), "heads": 4, "head_dim": 8, "rope_theta": 100.0}
    model = randomised(visual(encoder, **options))
    save_hf(model, tmp_path)
    theirs = transformers.AutoModelForImageTextToText.from_pretrained(tmp_path).eval()
    assert type(theirs).__name__ == "LlavaForConditionalGeneration"
    assert_same_logits(model, theirs)
    assert_same_logits(load_hf(tmp_path), theirs)


@pytest.mark.parametrize("layout", ["attributes", "mixed"])
def test_other_layouts_of_names_are_read(tmp_path, layout: str) -> None:
    from safetensors.torch import load_file, save_file

    model = randomised(visual())
    save_hf(model, tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    renamed = {}
    for name, tensor in state.items():
        new = name.replace("language_model.lm_head", "lm_head").replace("language_model.model.", "language_model.")
        with_prefix = not new.startswith("lm_head") and (layout == "attributes" or not new.startswith("language"))
        renamed[f"model.{new}" if with_prefix else new] = tensor
    save_file(renamed, tmp_path / "model.safetensors")
    again = load_hf(tmp_path)
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], tensor, msg=name)


def test_their_image_processor_reads_the_folder_and_cuts_as_we_expect(tmp_path) -> None:
    transformers = pytest.importorskip("transformers")
    image = pytest.importorskip("PIL.Image")
    numpy = pytest.importorskip("numpy")
    save_hf(randomised(visual()), tmp_path)
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path)
    assert processor.size["longest_edge"] == 32
    raw = torch.randint(0, 256, (12, 20, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    found = processor([image.fromarray(raw.numpy())], return_tensors="pt")
    expected = (raw.double() / 255 - torch.tensor(PIXEL_MEAN)) / torch.tensor(PIXEL_DEVIATION)
    assert numpy.asarray(found["image_sizes"]).tolist() == [[12, 20]]
    torch.testing.assert_close(found["pixel_values"][0], expected.permute(2, 0, 1).float(), rtol=1e-5, atol=1e-5)
    larger = processor([image.new("RGB", (100, 40))], return_tensors="pt")  # 32 pixels at most, whole patches
    assert numpy.asarray(larger["image_sizes"]).tolist() == [[12, 32]]


def test_their_processor_writes_the_tokens_that_it_is_told(tmp_path) -> None:
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("torchvision")  # PixtralProcessor's own condition
    image = pytest.importorskip("PIL.Image")
    tokenizers = pytest.importorskip("tokenizers")
    names = ("<patch>", "<line>", "<end>")
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(vocab={"a": 0, "b": 1}, merges=[]))
    tokenizer.add_special_tokens(list(names))
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    values = {"tokenizer_class": "PreTrainedTokenizerFast"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(values))
    save_hf(randomised(visual()), tmp_path, image_tokens=names)
    processor = transformers.AutoProcessor.from_pretrained(tmp_path)
    assert type(processor).__name__ == "PixtralProcessor"
    found = processor(text="a<patch>b", images=[image.new("RGB", (12, 8))])
    assert torch.as_tensor(found["input_ids"]).tolist() == [[0, 2, 2, 2, 3, 2, 2, 2, 4, 1]]


HF = config_to_llava(visual())


@pytest.mark.parametrize(
    ("change", "words"),
    [({"architectures": ["LlavaNextForConditionalGeneration"]}, "LlavaForConditionalGeneration is read"),
     ({"vision_feature_layer": -2}, "vision_feature_layer is -2; -1 is read"),
     ({"vision_feature_select_strategy": "default"}, "vision_feature_select_strategy is 'default'; 'full' is read"),
     ({"projector_hidden_act": "relu"}, "projector_hidden_act is 'relu'; 'gelu' is read"),
     ({"vision_config": {**HF["vision_config"], "hidden_act": "gelu"}}, "vision_config.hidden_act is 'gelu'; 'silu'"),
     ({"vision_config": {"model_type": "pixtral"}}, "vision_config.hidden_act is 'gelu'"),  # their default
     ({"vision_config": {**HF["vision_config"], "model_type": "eva"}}, "vision_config.model_type is 'eva'; 'pixtral'"),
     ({"vision_config": {**HF["vision_config"], "patch_size": [4, 8]}}, r"vision_config.patch_size is \[4, 8\]"),
     ({"vision_config": None}, "vision_config is None; an object is read"),
     ({"text_config": {**HF["text_config"], "hidden_act": "gelu"}}, "text_config: hidden_act is 'gelu'"),
     ({"text_config": {"model_type": "gemma"}}, "text_config: model_type is 'gemma'"),
     ({"image_token_index": 61}, "vision.image_token must be below vocab_size; 61 is not below 61")],
)  # fmt: skip
def test_keys_that_change_the_result_are_refused(change, words) -> None:
    with pytest.raises(UserError, match=words):
        config_from_llava({**HF, **change})


def test_keys_left_out_have_transformers_values() -> None:
    transformers = pytest.importorskip("transformers")
    for kind in ("llama", "mistral", "qwen2", "qwen3"):
        values = {"model_type": "llava", "text_config": {"model_type": kind}, **WHOLE,
                  "vision_config": {"model_type": "pixtral", "hidden_act": "silu"}}  # fmt: skip
        whole = transformers.LlavaConfig(**{key: value for key, value in values.items() if key != "model_type"})
        assert config_from_llava(values) == config_from_llava(json.loads(whole.to_json_string()))


def test_a_preprocessor_says_how_long_an_image_is_and_nothing_else(tmp_path) -> None:
    model = randomised(visual())
    save_hf(model, tmp_path)
    path = tmp_path / "preprocessor_config.json"
    values = read_json(path)
    changed = {**values, "size": {"longest_edge": 24}, "image_processor_type": "PixtralImageProcessorFast"}
    path.write_text(json.dumps(changed))
    assert load_hf(tmp_path).config.vision.longest == 24
    path.write_text(json.dumps({**values, "image_mean": [0.5, 0.5, 0.5]}))
    with pytest.raises(UserError, match=r"image_mean is \[0.5, 0.5, 0.5\]; \[0.48.* is read"):
        load_hf(tmp_path)
    path.unlink()
    assert load_hf(tmp_path).config == model.config


def test_weights_that_do_not_fit_are_named(tmp_path) -> None:
    from safetensors.torch import load_file, save_file

    save_hf(randomised(visual()), tmp_path)
    weights = tmp_path / "model.safetensors"
    state = load_file(weights)
    for change, words in (
        ({"vision_tower.extra.weight": torch.ones(3)}, "vision_tower.extra.weight has no place in this decoder"),
        ({"vision_tower.ln_pre.weight": torch.ones(3)}, r"vision.patch_norm.weight has the shape \(3,\)"),
    ):
        save_file({**state, **change}, weights)
        with pytest.raises(UserError, match=words):
            load_hf(tmp_path)
    del state["multi_modal_projector.linear_1.weight"]
    save_file(state, weights)
    with pytest.raises(UserError, match=r"the tensor multi_modal_projector.linear_1.weight is missing"):
        load_hf(tmp_path)


def test_an_encoder_that_pixtral_does_not_compute_stays(tmp_path) -> None:
    with pytest.raises(UserError, match=r"vision.norm_eps is 0.001; 1e-05 is what transformers' tower computes"):
        save_hf(randomised(visual({"norm_eps": 1e-3})), tmp_path)
    assert not any(tmp_path.iterdir())
