"""Llama, Mistral, Qwen2 and Qwen3 of transformers come in and go out with the same logits."""

import json

import pytest
import torch

from foretell.core.errors import UserError
from foretell.model.config import ModelConfig, RotaryScaling
from foretell.model.decoder import KeyValueCache, build_decoder
from foretell.model.hf import config_from_hf, config_to_hf, load_hf, save_hf

IDS = torch.randint(0, 61, (2, 40), generator=torch.Generator().manual_seed(0))
SMALL = {"vocab_size": 61, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "head_dim": 12,
         "num_key_value_heads": 2, "intermediate_size": 48, "max_position_embeddings": 64,
         "initializer_range": 0.2}  # fmt: skip
LLAMA3 = {"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 16}  # fmt: skip
THEIRS = {
    "llama": ("Llama", {}),
    "llama-biases": ("Llama", {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True}),
    "llama-llama3": ("Llama", {"rope_parameters": LLAMA3}),
    "llama-linear": ("Llama", {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.5}}),
    "mistral": ("Mistral", {"sliding_window": 7}),
    "mistral-whole": ("Mistral", {"sliding_window": None}),
    "qwen2": ("Qwen2", {"tie_word_embeddings": True}),
    "qwen2-window": ("Qwen2", {"use_sliding_window": True, "sliding_window": 7, "max_window_layers": 1}),
    "qwen3": ("Qwen3", {"attention_bias": True}),
    "qwen3-window": ("Qwen3", {"use_sliding_window": True, "sliding_window": 7, "max_window_layers": 2}),
}


def theirs_of(name: str):
    transformers = pytest.importorskip("transformers")
    architecture, changes = THEIRS[name]
    config = getattr(transformers, f"{architecture}Config")(**{**SMALL, **changes})
    torch.manual_seed(0)
    model = getattr(transformers, f"{architecture}ForCausalLM")(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:  # gains of one and biases of zero would hide a mix-up
                parameter.add_(torch.randn(parameter.shape) * 0.3)
    return model


@pytest.mark.parametrize("name", THEIRS)
def test_their_models_come_in_and_leave_again_with_the_same_logits(tmp_path, name):
    transformers = pytest.importorskip("transformers")
    theirs = theirs_of(name)
    theirs.save_pretrained(tmp_path / "in", max_shard_size="20KB")
    assert (tmp_path / "in" / "model.safetensors.index.json").exists()
    ours = load_hf(tmp_path / "in")
    save_hf(ours, tmp_path / "out")
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert type(again) is type(theirs) or name == "mistral-whole"  # a Llama, without its window
    with torch.no_grad():
        expected = theirs(IDS).logits
        torch.testing.assert_close(ours(IDS), expected, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(again(IDS).logits, expected, rtol=1e-4, atol=1e-4)
        cache = KeyValueCache.empty(ours.config, 2, torch.device("cpu"), torch.float32)
        cached = torch.cat([ours(IDS[:, a:b], cache) for a, b in ((0, 5), (5, 6), (6, 31), (31, 40))], 1)
        torch.testing.assert_close(cached, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "architecture"),
    [({"qkv_bias": True}, "Qwen2"), ({"output_bias": True}, "Llama"), ({"mlp_bias": True, "qkv_bias": True}, "Llama"),
     ({"window": 9}, "Mistral"), ({"window": 9, "window_from": 1}, "Qwen2"),
     ({"qk_norm": True, "qkv_bias": True}, "Qwen3"),
     ({"qk_norm": True, "window": 9}, "Qwen3"), ({"qkv_bias": True, "window": 9, "base_width": 64}, "Qwen2"),
     ({"rotary_scaling": RotaryScaling(kind="llama3", factor=4, original_context=20), "base_width": 64}, "Llama")],
)  # fmt: skip
def test_our_options_leave_as_the_plainest_architecture_that_has_them(tmp_path, options, architecture):
    transformers = pytest.importorskip("transformers")
    shape = {"vocab_size": 61, "width": 32, "depth": 2, "heads": 4, "kv_heads": 2, "head_dim": 12, "ffn_width": 48,
             "context": 64}  # fmt: skip
    model = build_decoder(ModelConfig(**shape, **options), 1).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3 + (parameter.ndim == 1))
    save_hf(model, tmp_path, {"eos_token_id": 7})
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    assert type(theirs).__name__ == f"{architecture}ForCausalLM" and theirs.config.eos_token_id == 7
    with torch.no_grad():
        torch.testing.assert_close(theirs(IDS).logits, model(IDS), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(load_hf(tmp_path)(IDS), model(IDS), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_and_pickles_are_read_as_float32(tmp_path, dtype):
    theirs = theirs_of("qwen2").to(dtype)
    theirs.config.save_pretrained(tmp_path)
    torch.save(theirs.state_dict(), tmp_path / "pytorch_model.bin")
    ours = load_hf(tmp_path, context=48)
    assert ours.config.context == 48 and all(p.dtype == torch.float32 for p in ours.parameters())
    whole = theirs_of("qwen2")
    whole.load_state_dict(theirs.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(ours(IDS), whole(IDS).logits, rtol=1e-4, atol=1e-4)


class Trap:
    def __reduce__(self):
        return print, ("unpickled",)


def test_nothing_is_unpickled(tmp_path, capsys):
    theirs_of("llama").config.save_pretrained(tmp_path)
    torch.save({"x": Trap()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(UserError, match="not readable as PyTorch weights"):
        load_hf(tmp_path)
    assert "unpickled" not in capsys.readouterr().out


HF = config_to_hf(ModelConfig(vocab_size=61, width=32, depth=2, heads=4, kv_heads=2, head_dim=8, ffn_width=48,
                              context=64))  # fmt: skip


@pytest.mark.parametrize(
    ("change", "words"),
    [({"quantization_config": {"quant_method": "gptq"}}, r"quantization_config is .*gptq.*; None is read"),
     ({"architectures": ["LlamaForSequenceClassification"]}, "architectures is .*; LlamaForCausalLM is read"),
     ({"partial_rotary_factor": 0.5}, "partial_rotary_factor is 0.5; 1 is read"),
     ({"rope_parameters": {"rope_type": "yarn"}}, "rope_type is 'yarn'; 'default', 'linear' and 'llama3'"),
     ({"rope_parameters": {"rope_type": "llama3"}}, "factor is missing, which rope_type 'llama3' needs"),
     ({"num_key_value_heads": 3}, "num_key_value_heads is 3; a divisor of num_attention_heads, which is 4"),
     ({"hidden_size": "wide"}, "hidden_size is 'wide'; a whole number above 0"),
     ({"rms_norm_eps": -1}, "config.json: norm_eps is -1"),
     ({"model_type": "qwen2", "architectures": None, "use_sliding_window": True, "sliding_window": 4,
       "layer_types": ["sliding_attention", "full_attention"]}, "layer_types is .*sliding_attention is read")],
)  # fmt: skip
def test_keys_that_change_the_result_are_refused(change, words):
    with pytest.raises(UserError, match=words):
        config_from_hf({**HF, **change})


def test_options_that_no_architecture_has_together_are_refused(tmp_path):
    shape = {"vocab_size": 61, "width": 32, "depth": 2, "heads": 4, "kv_heads": 2, "head_dim": 8, "ffn_width": 48,
             "context": 64}  # fmt: skip
    with pytest.raises(UserError, match="mlp_bias is on, which no MistralForCausalLM has"):
        save_hf(build_decoder(ModelConfig(**shape, window=4, mlp_bias=True)), tmp_path)
    assert not any(tmp_path.iterdir())


def test_weights_that_do_not_fit_are_named(tmp_path):
    from safetensors.torch import load_file, save_file

    save_hf(build_decoder(config_from_hf(HF)), tmp_path)
    weights = tmp_path / "model.safetensors"
    state = load_file(weights)
    for change, words in (
        (
            {"model.norm.weight": torch.ones(31)},
            r"norm.weight has the shape \(31,\) and its configuration says \(32,\)",
        ),
        ({"model.layers.0.mlp.experts.weight": torch.ones(3)}, "mlp.experts.weight has no place in this decoder"),
        ({"model.norm.weight": torch.ones(32, dtype=torch.int8)}, "model.norm.weight is int8; float32, bfloat16"),
    ):
        save_file({**state, **change}, weights)
        with pytest.raises(UserError, match=words):
            load_hf(tmp_path)
    del state["model.norm.weight"]
    save_file(state, weights)
    with pytest.raises(UserError, match=r"model.norm.weight is missing"):
        load_hf(tmp_path)
    weights.rename(tmp_path / "part-1.safetensors")
    index = {"weight_map": {"model.norm.weight": "../part-1.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match=r"'../part-1.safetensors' is not a file of this folder"):
        load_hf(tmp_path)
