"""Supervised fine-tuning: it learns, leaves its base alone, goes on exactly, and leaves what others load."""

import copy
import functools
import json
from dataclasses import replace
from pathlib import Path

import pytest
import sft_runs
import torch
from safetensors.torch import load_file
from sft_runs import CONFIG, conversations, tiny_base, tiny_plan

from chats import chat, write
from foretell.cli.main import main
from foretell.cli.sft import targets_of
from foretell.core.errors import InterruptedRunError, UserError
from foretell.core.runlog import read_log
from foretell.data.packing import PackedStream
from foretell.model.decoder import build_decoder
from foretell.model.hf import load_hf, save_hf
from foretell.model.lora import Adapter, LoRAConfig, adaptable_sites, put_module
from foretell.model.peft import read_adapter
from foretell.model.quantised import QuantisedLinear, quantise
from foretell.posttrain import sft
from foretell.posttrain.base import weights_digest
from foretell.posttrain.finetuning import FineTuning
from foretell.posttrain.settings import SFTOptions
from foretell.posttrain.sft import plan_in_words, plan_sft, run_sft
from foretell.train import loop
from foretell.train.checkpoint import checkpoint_folders
from foretell.train.replicas import accumulate


def saved(folder: Path, file: str = "model.safetensors") -> dict[str, torch.Tensor]:
    return load_file(checkpoint_folders(folder / "checkpoints")[-1] / file)


def packed_base(_: SFTOptions):
    """The tiny base over matrices of 4 bits."""
    decoder = build_decoder(CONFIG, 4)
    for path in dict.fromkeys(site.module for site in adaptable_sites(CONFIG)):
        put_module(decoder, path, QuantisedLinear(quantise(decoder.get_submodule(path).weight, 4, group=8)))
    return tiny_base(decoder=decoder)


@pytest.mark.parametrize("load", [tiny_base, packed_base])
def test_an_adapter_learns_and_its_base_stays_as_it_is(tmp_path: Path, load) -> None:
    plan = tiny_plan(tmp_path, load, epochs=12)
    original = copy.deepcopy(plan.base.decoder)
    result = run_sft(plan, tmp_path / "run", threads=1)
    losses = [record["loss"] for record in read_log(tmp_path / "run" / "log.jsonl", "step")]
    assert losses[-1] < losses[0] / 2 and result["heldout"]["nats_per_token"] < result["before"]["nats_per_token"] / 2
    trained = {name for name, parameter in plan.base.decoder.named_parameters() if parameter.requires_grad}
    assert trained and all(".update." in name for name in trained)
    for name, tensor in plan.base.decoder.state_dict().items():
        if name not in trained:
            assert torch.equal(tensor, original.state_dict()[name.replace(".base.", ".")])
    assert set(saved(tmp_path / "run")) == trained
    assert result["trained_parameters"] == sum(tensor.numel() for tensor in saved(tmp_path / "run").values())
    # What it leaves, put on a base of its own, gives the loss that the record says.
    adapter = read_adapter(tmp_path / "run" / "adapter", CONFIG)
    adapter.merge(original, dequantise=True)
    work = FineTuning(plan.settings, original, plan.train, plan.heldout, None)
    assert work.evaluate(original, None) == pytest.approx(result["heldout"], rel=1e-4)


def test_all_weights_leave_as_a_hugging_face_directory(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    plan = tiny_plan(tmp_path, full=True, learning_rate=1e-2, epochs=8)
    plan = replace(plan, base=replace(plan.base, end_of_turn_ids=(0, 7)))
    result = run_sft(plan, tmp_path / "run", threads=1)
    assert result["method"] == "full" and result["trained_parameters"] == result["parameters"]["total"]
    assert result["heldout"]["nats_per_token"] < result["before"]["nats_per_token"] / 2
    ids = torch.randint(0, 128, (2, 40), generator=torch.Generator().manual_seed(0))
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "run" / "model")
    with torch.no_grad():
        logits = load_hf(tmp_path / "run" / "model")(ids)
        torch.testing.assert_close(logits, theirs(ids).logits, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(logits, plan.base.decoder.eval()(ids))
    assert (tmp_path / "run" / "model" / "tokenizer.json").exists()
    assert theirs.config.eos_token_id == [0, 7]  # where other programs stop


@pytest.mark.parametrize("is_run", [True, False])
def test_peft_finds_the_base_of_an_adapter_by_itself(tmp_path: Path, is_run: bool) -> None:
    peft = pytest.importorskip("peft")
    base = tmp_path / "laptop"
    folder = base / "model" if is_run else base
    folder.mkdir(parents=True)
    save_hf(tiny_base().decoder, folder)
    if is_run:
        (base / "recipe.yaml").touch()
    plan = tiny_plan(tmp_path, model=str(base), epochs=2)
    run_sft(plan, tmp_path / "run", threads=1)
    config = json.loads((tmp_path / "run" / "adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(folder.resolve())
    theirs = peft.AutoPeftModelForCausalLM.from_pretrained(tmp_path / "run" / "adapter").eval()
    ids = torch.randint(0, 128, (2, 40), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(theirs(ids).logits, plan.base.decoder.eval()(ids), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("threads", "full"), [(1, False), (1, True), (2, False)])  # two: a replica of its own
def test_an_interrupted_run_goes_on_exactly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int, full: bool
) -> None:
    options = {"full": full, "lora": LoRAConfig(rank=4, dropout=0.2), "checkpointing": not full, "batch_tokens": 256}
    whole = run_sft(tiny_plan(tmp_path, **options), tmp_path / "whole", threads=threads)
    assert json.loads((tmp_path / "whole" / "execution.json").read_text())["replicas"] == threads
    countdown = iter([False, False] * 5 + [True, True])
    monkeypatch.setattr(loop, "stop_requested", lambda: next(countdown))
    with pytest.raises(InterruptedRunError, match="goes on from there"):
        run_sft(tiny_plan(tmp_path, **options), tmp_path / "broken", threads=threads)
    monkeypatch.undo()
    assert checkpoint_folders(tmp_path / "broken" / "checkpoints")[-1].name == "step-00000006"
    again = run_sft(tiny_plan(tmp_path, **options), tmp_path / "broken")
    for file in ("model.safetensors", "optimizer.safetensors"):
        one, other = saved(tmp_path / "whole", file), saved(tmp_path / "broken", file)
        assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    assert again["heldout"] == whole["heldout"] and again["before"] == whole["before"]
    logs = [[(record["step"], record["loss"]) for record in read_log(tmp_path / name / "log.jsonl", "step")]
            for name in ("whole", "broken")]  # fmt: skip
    assert logs[0] == logs[1]


def test_replicas_give_the_gradients_of_one_process(tmp_path: Path) -> None:
    one, two = (run_sft(tiny_plan(tmp_path, batch_tokens=256), tmp_path / str(threads), threads=threads)["heldout"]
                for threads in (1, 2))  # fmt: skip
    assert one["nats_per_token"] == pytest.approx(two["nats_per_token"], rel=1e-3)


def test_a_finished_run_is_not_trained_again_and_a_lost_directory_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_plan = functools.partial(sft_runs.tiny_plan, epochs=1, held_out=0.0)
    first = run_sft(tiny_plan(tmp_path), tmp_path / "run", threads=1)
    assert first["heldout"] == first["before"] == {}
    weights = load_file(tmp_path / "run" / "adapter" / "adapter_model.safetensors")
    (tmp_path / "run" / "adapter" / "adapter_model.safetensors").unlink()
    (tmp_path / "run" / "adapter" / "adapter_config.json").unlink()
    (tmp_path / "run" / "adapter").rmdir()
    run_sft(tiny_plan(tmp_path), tmp_path / "run", threads=1)
    again = load_file(tmp_path / "run" / "adapter" / "adapter_model.safetensors")
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    monkeypatch.setattr(sft, "Trainer", None)
    assert run_sft(tiny_plan(tmp_path), tmp_path / "run")["finished"] > first["finished"]


def test_another_base_or_other_data_is_refused_in_the_same_folder(tmp_path: Path) -> None:
    run_sft(tiny_plan(tmp_path, epochs=1), tmp_path / "run", threads=1)
    (tmp_path / "run" / "result.json").unlink()
    other = functools.partial(tiny_base, decoder=build_decoder(CONFIG, 5))
    with pytest.raises(UserError, match="other settings: base"):
        run_sft(tiny_plan(tmp_path, other, epochs=1), tmp_path / "run", threads=1)
    # The settings were tampered with: the checkpoint itself knows its base.
    settings = json.loads((tmp_path / "run" / "settings.json").read_text())
    settings["base"] = weights_digest(other().decoder)
    (tmp_path / "run" / "settings.json").write_text(json.dumps(settings))
    with pytest.raises(UserError, match="over another base"):
        run_sft(tiny_plan(tmp_path, other, epochs=1), tmp_path / "run", threads=1)


def test_a_steps_gradient_does_not_depend_on_how_it_is_cut(tmp_path: Path) -> None:
    """Micro-batches have unequal numbers of labels; the loss is the mean over those of the whole step."""
    plan = tiny_plan(tmp_path, batch_tokens=512)
    batch = PackedStream(plan.train, plan.settings.room, 8, 0).next_batch()
    counts = [int((row != -100).sum()) for row in batch.labels]
    assert len(set(counts)) > 1 and sum(counts) == batch.tokens
    gradients = []
    for rows in (8, 3, 1):
        model = build_decoder(CONFIG, 4)
        total = accumulate(model, FineTuning.objective, batch, rows, 0)
        gradients.append([torch.tensor(total), *(parameter.grad for parameter in model.parameters())])
    for other in gradients[1:]:
        for one, two in zip(gradients[0], other, strict=True):
            torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-6)


def test_packed_rows_have_the_losses_of_conversations_alone(tmp_path: Path) -> None:
    plan = tiny_plan(tmp_path)
    model = plan.base.decoder
    rows = [list(range(0, 3)), [3], list(range(4, 7))]
    with torch.no_grad():
        together = model.loss(*plan.train.batch(rows, plan.settings.room).tensors)
        alone = [model.loss(*plan.train.batch([[item]], plan.settings.room).tensors[:2]) for item in range(7)]
    torch.testing.assert_close(together, sum(alone), rtol=1e-5, atol=1e-5)


def test_what_is_too_long_is_named_and_rows_are_as_short_as_they_can_be(tmp_path: Path) -> None:
    data = write(tmp_path / "a.jsonl", *[chat("q" * 20, f"{n}") for n in range(9)], chat("q" * 70, "a"), chat("q", "b"))
    plan = plan_sft(SFTOptions(data=str(data), batch_tokens=64), tiny_base)
    assert plan.too_long == [10] and plan.settings.room == 64
    words = "\n".join(plan_in_words(plan))
    assert "left out: 1 conversation (line 10) longer than the context" in words
    assert f"trained: {plan.settings.trained_parameters:,} (LoRA of rank 8)" in words and "time: about" in words
    with pytest.raises(UserError, match="batch_tokens is 63 and a row takes 64"):
        plan_sft(SFTOptions(data=str(data), batch_tokens=63), tiny_base)
    short = plan_sft(SFTOptions(data=str(data), batch_tokens=64, context=30), tiny_base)
    assert short.settings.room == 30


def test_frozen_weights_cost_a_third_less(tmp_path: Path) -> None:
    lora, full = (tiny_plan(tmp_path, full=full).settings for full in (False, True))
    assert full.steps == lora.steps and 0.6 < lora.flops / full.flops < 0.95
    adapter = Adapter(CONFIG, LoRAConfig(rank=4, targets="all-linear"))
    assert lora.trained_parameters == sum(parameter.numel() for parameter in adapter.parameters())


def test_targets_on_the_command_line() -> None:
    assert targets_of("q_proj,v_proj") == ["q_proj", "v_proj"] and targets_of("o_proj") == ["o_proj"]
    assert targets_of("all-linear") == "all-linear" and targets_of(r".*\.mlp\..*") == r".*\.mlp\..*"


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sft, "plan_sft", functools.partial(plan_sft, load=tiny_base))
    command = ["sft", str(conversations(tmp_path)), "--batch-tokens", "512", "--lr", "1e-2", "--targets", "all-linear",
               "--rslora", "--output", str(tmp_path / "run")]  # fmt: skip
    assert main([*command, "--dry-run"]) == 0 and not (tmp_path / "run").exists()
    assert "steps of" in capfd.readouterr().err
    assert main(command) == 0
    assert "held-out loss" in capfd.readouterr().out
    assert read_adapter(tmp_path / "run" / "adapter", CONFIG).lora.rslora
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["peak_memory_bytes"] > 10**7 and result["tokens_per_second"] > 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["--rank", "0"], "lora.rank is 0"), (["--targets", "query"], "'query'"), (["--held-out", "1"], "held_out is 1"),
     (["--lr", "-1"], "learning_rate is -1"), (["--epochs", "0"], "epochs is 0"), (["--lora", "--full"], "not allowed"),
     (["--model", "nowhere"], "'nowhere'"), (["--dropout", "x"], "--dropout"),
     (["--batch-tokens", "8"], "batch_tokens is 8")],
)  # fmt: skip
def test_mistakes_are_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], arguments, words: str
) -> None:
    if "--model" not in arguments:
        monkeypatch.setattr(sft, "plan_sft", functools.partial(plan_sft, load=tiny_base))
    output = tmp_path / "run"
    assert main(["sft", str(conversations(tmp_path)), "--output", str(output), *arguments]) == 2
    message = " ".join(capfd.readouterr().err.split())
    assert words in message and "Traceback" not in message and not output.exists()
