"""What leaves as GGUF or as a directory is the same model: by our reader, by ``gguf``'s and by transformers."""

import json
from pathlib import Path

import numpy as np
import pytest
import tokenizers
import torch

from foretell.cli.main import main
from foretell.core.errors import UserError
from foretell.core.gguf import read_gguf
from foretell.data.chat import ChatTemplate
from foretell.data.gguf_tokenizer import pre_tokenizer, tokenizer_from_gguf
from foretell.data.sentencepiece import from_llama2c
from foretell.data.tokenizer import Tokenizer
from foretell.infer.engine import Engine, EngineOptions
from foretell.infer.export import export_model
from foretell.infer.loading import LoadedModel, embedded_file, load_model
from foretell.infer.requests import Request
from foretell.infer.sampling import Sampling
from foretell.model.config import ModelConfig, RotaryScaling
from foretell.model.decoder import build_decoder
from foretell.model.gguf_read import decoder_from_gguf
from foretell.model.quantised import QuantisedLinear

gguf = pytest.importorskip("gguf", reason="the extra gguf is not installed")
TOKENIZER = Tokenizer.train([Path(json.__file__).read_text() * 2], 300)
SHAPE = {"vocab_size": 320, "width": 64, "depth": 2, "heads": 4, "kv_heads": 2, "head_dim": 16, "ffn_width": 96,
         "context": 64}  # fmt: skip
IDS = torch.randint(0, 300, (2, 40), generator=torch.Generator().manual_seed(0))
OPTIONS = {
    "llama": {},
    "llama-mup-tied": {"base_width": 32, "tied": True},
    "llama-biases": {"qkv_bias": True, "output_bias": True, "mlp_bias": True, "base_width": 32},
    "llama-llama3": {"rotary_scaling": RotaryScaling(kind="llama3", factor=8), "rope_theta": 5e5},
    "llama-linear": {"rotary_scaling": RotaryScaling(kind="linear", factor=2.5)},
    "llama-window": {"window": 64},
    "qwen2": {"qkv_bias": True},
    "qwen3": {"qk_norm": True, "base_width": 32, "head_dim": 128},
}


def model_of(**options) -> LoadedModel:
    decoder = build_decoder(ModelConfig(**{**SHAPE, **options}), 1).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2 + (parameter.ndim == 1))
    chat = ChatTemplate(TOKENIZER.chat_template, TOKENIZER)
    return LoadedModel("small", decoder, TOKENIZER, chat, (0, 2), (0,), decoder.config.context)


def logits(decoder) -> torch.Tensor:
    with torch.no_grad():
        return decoder(IDS)


@pytest.mark.parametrize("name", OPTIONS)
def test_a_float_file_has_the_same_logits_for_us_and_for_transformers(tmp_path, name):
    model = model_of(**OPTIONS[name])
    export_model(model, tmp_path / "x.gguf", "f32")
    file = read_gguf(tmp_path / "x.gguf")
    assert file.metadata["general.architecture"] == name.split("-")[0]
    again = load_model(str(tmp_path / "x.gguf"))
    torch.testing.assert_close(logits(again.decoder), logits(model.decoder), rtol=1e-4, atol=1e-4)
    if name in ("llama-biases", "llama-llama3", "llama-linear"):
        return  # transformers' reader of GGUF drops biases and scaling
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="x.gguf")
    with torch.no_grad():
        torch.testing.assert_close(theirs(IDS).logits, logits(model.decoder), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("file_type", ["f16", "bf16", "q8_0", "q4_0", "q4_1"])
def test_every_type_reads_as_ggufs_own_package_reads_it(tmp_path, file_type):
    model = model_of(tied=file_type == "q8_0")
    export_model(model, tmp_path / "x.gguf", file_type)
    packed = decoder_from_gguf(read_gguf(tmp_path / "x.gguf"))
    plain = decoder_from_gguf(read_gguf(tmp_path / "x.gguf"), dequantise=True)
    torch.testing.assert_close(logits(packed), logits(plain), rtol=1e-5, atol=1e-5)
    if file_type[0] == "q":
        assert isinstance(packed.blocks[0].attention.qkv, QuantisedLinear) and packed.head_matrix.bits == 8
        assert plain.head_matrix is None and not any(isinstance(m, QuantisedLinear) for m in plain.modules())
    by_name = {t.name: gguf.dequantize(t.data, t.tensor_type) for t in gguf.GGUFReader(tmp_path / "x.gguf").tensors}
    np.testing.assert_array_equal(by_name["blk.1.ffn_down.weight"], plain.blocks[1].feed_forward.down.weight.detach())
    np.testing.assert_array_equal(by_name["token_embd.weight"], plain.embedding.weight.detach())
    value = plain.blocks[0].attention.qkv.weight.detach()[96:]
    np.testing.assert_array_equal(by_name["blk.0.attn_v.weight"], value)
    off = (logits(plain) - logits(model.decoder)).abs().mean() / logits(model.decoder).std()
    assert off < {"f16": 0.005, "bf16": 0.05, "q8_0": 0.05}.get(file_type, 0.5)


def test_the_tokenizer_and_the_template_travel(tmp_path):
    model = model_of()
    export_model(model, tmp_path / "x.gguf")
    again = load_model(str(tmp_path / "x.gguf"))
    assert (again.start_ids, again.end_of_turn_ids, again.chat.source) == ((0,), (0, 2), TOKENIZER.chat_template)
    talk = [{"role": "user", "content": "Hi <|im_end|> 123"}]
    assert again.chat.encode(talk) == model.chat.encode(talk)
    for text in ("def f(x):\n    return  x ** 21\n", "Grüße 漢 🎉", "<|im_start|>"):
        assert again.tokenizer.encode(text) == TOKENIZER.encode(text)
    file = read_gguf(tmp_path / "x.gguf")
    assert file.metadata["tokenizer.ggml.pre"] == "smollm" and file.metadata["general.file_type"] == 1
    assert (
        file.metadata["tokenizer.ggml.tokens"][300] == "[PAD300]" and len(file.metadata["tokenizer.ggml.tokens"]) == 320
    )


@pytest.mark.parametrize("name", ["gpt-2", "llama-bpe", "qwen2", "default"])
def test_pre_tokenizers_keep_their_names(tmp_path, name):
    backend = tokenizers.Tokenizer.from_str(TOKENIZER.to_json())
    backend.pre_tokenizer = pre_tokenizer(name)
    tokenizer = Tokenizer(tokenizers.Tokenizer.from_str(backend.to_str()))
    export_model(LoadedModel("x", model_of().decoder, tokenizer, None, (0,), (), 64), tmp_path / "x.gguf")
    file = read_gguf(tmp_path / "x.gguf")
    assert file.metadata["tokenizer.ggml.pre"] == name
    again = tokenizer_from_gguf(file)
    text = "it's 12345 !!\n\n  IT'S x"
    assert again.encode(text) == tokenizer.encode(text)


def test_a_sentencepiece_tokenizer_keeps_its_merges(tmp_path):
    stories = Path(__file__).parents[3] / "shared" / "data" / "weights" / "stories260K"
    if not stories.is_dir():
        pytest.skip("the shared weights are not here")
    tokenizer = from_llama2c(stories / "tok512.bin")
    text = json.loads((stories / "reference.json").read_text())["run_c_text_n256"] + " Ünï 12"
    export_model(load_model(str(stories)), tmp_path / "x.gguf", "f32")
    again = load_model(str(tmp_path / "x.gguf"))
    assert (again.start_ids, again.end_of_turn_ids) == ((1,), (2,))
    assert again.tokenizer.encode(text) == tokenizer.encode(text)
    assert again.tokenizer.decode(again.tokenizer.encode(text)) == text
    export_model(again, tmp_path / "folder")
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "folder")
    assert theirs(text)["input_ids"] == [1, *tokenizer.encode(text)]
    torch.testing.assert_close(logits(load_model(str(tmp_path / "folder")).decoder), logits(again.decoder))


def test_a_packed_model_leaves_as_a_directory_through_the_command(tmp_path, capsys):
    model = model_of(tied=True, base_width=32)
    export_model(model, tmp_path / "x.gguf", "q4_1")
    packed = load_model(str(tmp_path / "x.gguf"))
    assert main(["export", str(tmp_path / "x.gguf"), str(tmp_path / "folder"), "--context", "48"]) == 0
    assert "folder: " in capsys.readouterr().err
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "folder")
    with torch.no_grad():
        torch.testing.assert_close(theirs(IDS).logits, logits(packed.decoder), rtol=1e-4, atol=1e-4)
    again = load_model(str(tmp_path / "folder"))
    assert (again.context, again.end_of_turn_ids, again.chat.source) == (48, (0, 2), TOKENIZER.chat_template)
    assert main(["export", str(tmp_path / "folder"), str(tmp_path / "y.gguf"), "--type", "q8_0"]) == 0
    assert main(["generate", str(tmp_path / "y.gguf"), "x", "--tokens", "1"]) == 0


@pytest.mark.parametrize(
    ("options", "out", "file_type", "words"),
    [({}, "x.gguf", "q2_k", "type is 'q2_k'; f32, f16, bf16, q8_0"),
     ({}, "folder", "q8_0", "type is 'q8_0'; a directory is written in f32"),
     ({"window": 8}, "x.gguf", None, "window is 8, and llama.cpp gives such a model none; with a context of 8"),
     ({"qk_norm": True, "qkv_bias": True}, "x.gguf", None, "which llama.cpp's qwen3 does not compute"),
     ({"vocab_size": 100}, "x.gguf", None, "The tokenizer has 300 entries and the model 100")],
)  # fmt: skip
def test_what_cannot_leave_says_why(tmp_path, options, out, file_type, words):
    with pytest.raises(UserError, match=words):
        export_model(model_of(**options), tmp_path / out, file_type)
    assert not any(tmp_path.iterdir())


def test_values_that_a_type_cannot_hold_are_refused(tmp_path):
    model = model_of()
    with torch.no_grad():
        model.decoder.blocks[1].feed_forward.down.weight[0, 0] = 1e5
    with pytest.raises(UserError, match=r"blk.1.ffn_down.weight holds values that F16 cannot; --type f32"):
        export_model(model, tmp_path / "x.gguf")
    other = tokenizers.Tokenizer(tokenizers.models.WordLevel({"</s>": 0}, "</s>"))
    with pytest.raises(UserError, match="The tokenizer is a WordLevel; BPE is what can be written"):
        export_model(LoadedModel("x", model.decoder, Tokenizer(other), None, (), (), 64), tmp_path / "x.gguf", "f32")
    split = tokenizers.Tokenizer.from_str(TOKENIZER.to_json())
    split.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    with pytest.raises(UserError, match="pre-tokenizer has no name in GGUF"):
        export_model(LoadedModel("x", model.decoder, Tokenizer(split), None, (), (), 64), tmp_path / "x.gguf", "f32")


@pytest.mark.parametrize("tied", [True, False])
def test_the_packed_head_goes_where_the_model_goes(tmp_path, tied):
    export_model(model_of(tied=tied), tmp_path / "x.gguf", "q8_0")
    decoder = load_model(str(tmp_path / "x.gguf")).decoder
    assert torch.equal(decoder.head_matrix.dequantised(), decoder.head_weight)
    moved = decoder.to("meta").head_matrix
    assert {part.device.type for part in (moved.values, moved.scale)} == {"meta"}


PROMPTS = ["The capital of France is", "Once upon a time there was a", "def fibonacci(n):\n    "]
# nats by which llama.cpp's next token may differ on average; its products round activations to 8 bits beside packed
# weights, and to 16 beside those of 16
DIVERGENCE = {"f32": 1e-5, "f16": 1e-4}
DIVERGENCE_PACKED = 0.03


@pytest.mark.parametrize(
    ("name", "file_type"),
    [("small", "f32"), ("small", "f16"), ("small", "q8_0"), ("small", "q4_0"), ("small", "q4_1"), ("smollm2", "f32"),
     ("smollm2", "q8_0")],
)  # fmt: skip
def test_llama_cpp_reads_what_leaves_and_writes_the_same(tmp_path: Path, name: str, file_type: str) -> None:
    llama_cpp = pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
    if name == "smollm2":
        try:
            embedded_file()
        except UserError as reason:
            pytest.skip(str(reason))
    model = model_of() if name == "small" else load_model(name, dequantise=True)
    path = tmp_path / "x.gguf"
    export_model(model, path, file_type)
    theirs = llama_cpp.Llama(str(path), n_ctx=64, n_threads=1, logits_all=True, verbose=False)
    ours = load_model(str(path), dequantise=True)
    prompts = [ours.tokenizer.encode(text) for text in PROMPTS]
    assert [theirs.tokenize(text.encode(), add_bos=False, special=False) for text in PROMPTS] == prompts
    for ids in prompts:
        theirs.reset()
        theirs.eval(ids)
        found = torch.log_softmax(torch.tensor(np.array(theirs.scores[: len(ids)])), -1)
        with torch.no_grad():
            expected = torch.log_softmax(ours.decoder(torch.tensor([ids]))[0], -1)
        divergence = (expected.exp() * (expected - found)).sum(-1).mean()
        assert divergence < DIVERGENCE.get(file_type, DIVERGENCE_PACKED)
    if file_type != "f32":
        return
    engine = Engine(ours.decoder, ours.tokenizer, EngineOptions(memory=2**26))
    for ids in prompts:
        (answer,) = engine.complete([Request(tuple(ids), 24, Sampling(temperature=0))])
        assert greedy(theirs, ids, 24) == list(answer.tokens)


def greedy(llama, ids: list[int], count: int) -> list[int]:
    """What llama.cpp writes after ``ids``."""
    llama.reset()
    llama.eval(ids)
    found: list[int] = []
    while len(found) < count:
        found.append(int(np.argmax(llama.scores[llama.n_tokens - 1])))
        llama.eval(found[-1:])
    return found
