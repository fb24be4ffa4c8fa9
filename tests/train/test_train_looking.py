"""An encoder that looks before the run: its loss word by word, what it trains, what the run takes over, resume."""

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from foretell.core.errors import InterruptedRunError, UserError
from foretell.core.files import read_json
from foretell.core.runlog import read_log
from foretell.data.packing import PackedStream
from foretell.data.stream import Batch
from foretell.data.visual.config import VisualConfig
from foretell.data.visual.store import VisualSet
from foretell.model.decoder import Decoder
from foretell.model.vision_config import vision_training_flops
from foretell.train import loop
from foretell.train.checkpoint import checkpoint_folders, newest_checkpoint
from foretell.train.config import RunSettings, TrainingConfig, VisualFeed
from foretell.train.execution import choose_execution
from foretell.train.looking import Looking, Readout, look_settings, pretrain, words_from_features
from foretell.train.loop import Trainer
from foretell.train.multimodal import ANSWERS, pretraining
from foretell.train.work import Stream
from small_runs import run_settings
from visual_documents import ROOM, SEEING, visual_data

MODEL = SEEING.model_copy(update={"base_width": 16})  # so that logits are scaled
FEED = VisualFeed(rows=3, room=ROOM, share=0.75, patches=8.0, image_patches=4.0, look=("other",), look_steps=40)


@pytest.fixture(scope="module")
def data(small_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return visual_data(tmp_path_factory.mktemp("visual"), small_corpus, sizes=(8, 16))


def settings_of(data: Path, **changes: object) -> RunSettings:
    training = TrainingConfig(evaluations=0, checkpoints=2, compile="off")
    values: dict[str, object] = {"model": MODEL, "rows": 2, "visual": FEED, "learning_rate": 2e-2, "steps": 6,
                                 "training": training}  # fmt: skip
    return run_settings(data / "tokens", **{**values, **changes})


def looking(data: Path) -> tuple[Looking, Decoder, Batch]:
    work = Looking(look_settings(settings_of(data)), data)
    model = work.build(torch.device("cpu"))
    torch.nn.init.normal_(model.get_submodule("readout").weight, generator=torch.Generator().manual_seed(3))
    feeds = work.open_feeds()
    assert list(feeds) == ["answers"] and feeds["answers"].share == 1
    return work, model, feeds["answers"].stream.next_batch()


@torch.no_grad()
def word_by_word(model: Decoder, batch: Batch) -> float:
    """The same loss, one question after the other in float64, from what its docstring says."""
    model = model.double()
    inputs, labels, documents, _, patches, places = batch.tensors
    total = 0.0
    for row in range(len(inputs)):
        features = model.vision(patches[row : row + 1].double(), places[row : row + 1])[0]
        is_image = (inputs[row] == 3).nonzero()[:, 0].tolist()
        for branch in documents[row][labels[row] != -100].unique().tolist():
            mine = (documents[row] == branch).nonzero()[:, 0].tolist()
            answer = [place for place in mine if labels[row, place] != -100]
            seen = torch.stack([features[n] for n, place in enumerate(is_image)
                                if documents[row, place] // 65536 == branch // 65536])  # fmt: skip
            asked = model.embedding.weight[inputs[row][[place for place in mine if place <= answer[0]]]].mean(0)
            asked = asked / asked.pow(2).mean().sqrt()
            readout = model.get_submodule("readout")
            query = readout.weight @ asked / readout.feature_size
            likely = asked if readout.prior is None else readout.prior.weight @ asked + readout.prior.bias
            parts = []
            for head in range(2):
                channels = slice(16 * head, 16 * head + 16)
                weights = torch.softmax(seen[:, channels] @ query[channels] / 4, 0)
                parts.append(weights @ seen[:, channels])
            gathered = torch.cat(parts)
            state = gathered / gathered.pow(2).mean().sqrt() + likely
            state = state / (state.pow(2).mean() + 1e-6).sqrt() * model.norm.weight
            scores = torch.log_softmax(model.head.weight @ state * model.output_scale, 0)
            total -= sum(float(scores[labels[row, place]]) for place in answer[:-1])
    return total


@pytest.mark.parametrize("grafted", [False, True])
def test_the_loss_is_that_of_the_words_one_by_one(data: Path, grafted: bool) -> None:
    _, model, batch = looking(data)
    if grafted:
        readout = Readout(32, 0.3, prior=True, device=torch.device("cpu"))
        for parameter in readout.parameters():
            torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(4))
        model.readout = readout
    with torch.no_grad():
        loss = float(words_from_features(model, *batch.tensors))
    assert loss == pytest.approx(word_by_word(model, batch), rel=1e-4)


@pytest.mark.parametrize("width", [20, 52, 56])
def test_heads_divide_any_width_of_a_ladder(data: Path, width: int) -> None:
    model = MODEL.model_copy(update={"width": width, "ffn_width": 2 * width})
    before = look_settings(settings_of(data, model=model))
    work = Looking(before, data)
    batch = work.open_feeds()["answers"].stream.next_batch()
    assert math.isfinite(float(words_from_features(work.build(torch.device("cpu")), *batch.tensors).detach()))


def test_without_images_there_is_nothing_to_learn(data: Path) -> None:
    _, model, batch = looking(data)
    loss = words_from_features(model, *batch.tensors[:4])
    loss.backward()
    assert loss.item() == 0


def test_it_trains_what_it_reads_with_on_the_sources_that_are_marked(data: Path) -> None:
    work, model, batch = looking(data)
    words_from_features(model, *batch.tensors).backward()
    learned = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert {name.split(".")[0] for name in learned} == {"vision", "embedding", "head", "norm", "readout"}
    assert all(parameter.grad is not None for name, parameter in model.named_parameters() if name in learned)
    assert sum(len(group.names) for group in work.groups(model)) == len(learned)
    assert work.shown.numbers.tolist() == list(range(60, 120))
    everything = VisualSet(data / "visual", "train")
    assert torch.equal(work.shown.batch([[5]], ROOM).inputs, everything.batch([[65]], ROOM).inputs)
    assert len({work.shown.digest, everything.digest, everything.of(("one",)).digest}) == 3


def test_the_run_starts_from_what_was_seen(data: Path, tmp_path: Path) -> None:
    settings = settings_of(data)
    result = pretrain(settings, data, tmp_path, threads=1)
    seen = newest_checkpoint(tmp_path / "looking" / "checkpoints")
    model = pretraining(settings, data, tmp_path / "looking").build(torch.device("cpu"))
    fresh = pretraining(settings, data).build(torch.device("cpu")).state_dict()
    assert seen is not None
    for name, value in model.state_dict().items():
        assert torch.equal(value, seen.model.get(name, fresh[name]))
        assert torch.equal(value, fresh[name]) == name.startswith("blocks.")
    first, last = (f(read_log(tmp_path / "looking" / "log.jsonl", "step"), key=lambda r: r["step"]) for f in (min, max))
    assert last["loss"] < 0.5 * first["loss"]
    assert result["looking"]["steps"] == 40 and result["looking"][ANSWERS] < math.log(400)
    with pytest.raises(UserError, match="looking has no whole checkpoint"):
        shutil.rmtree(tmp_path / "looking" / "checkpoints")
        pretraining(settings, data, tmp_path / "looking").build(torch.device("cpu"))


def test_flops_count_what_was_done_before(data: Path, tmp_path: Path) -> None:
    settings = settings_of(data)
    assert MODEL.vision is not None
    alone = 40 * (3 * 8.0 / 4.0) * vision_training_flops(MODEL.vision, 4, 32)
    assert settings.flops == pytest.approx(6 * settings.flops_per_step + alone)
    assert settings.flops_at(0) == pytest.approx(alone) and settings.flops_at(6) == settings.flops
    before = look_settings(settings)
    assert before.flops == pytest.approx(alone) and before.flops_at(0) == pytest.approx(0)
    assert before.digest() != settings.digest()


def test_processes_share_its_questions(data: Path, tmp_path: Path) -> None:
    feed = FEED.model_copy(update={"rows": 4})
    whole = settings_of(data, visual=feed, rows=1)
    before = look_settings(whole)
    assert choose_execution(before, 2).replicas == 2 and choose_execution(whole, 2).replicas == 1
    losses = {}
    for threads in (1, 2):
        trainer = Trainer(before, Looking(before, data), tmp_path / str(threads), threads=threads)
        losses[threads] = [trainer.forward_backward()["answers"] for _ in range(3)]
        trainer.close()
    assert losses[1] == pytest.approx(losses[2], rel=1e-4)


def test_interrupted_while_looking_it_goes_on_exactly(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(data)
    pretrain(settings, data, tmp_path / "whole", threads=1)
    countdown = iter([False, False] * 7 + [True, True])
    monkeypatch.setattr(loop, "stop_requested", lambda: next(countdown))
    with pytest.raises(InterruptedRunError, match="looking"):
        pretrain(settings, data, tmp_path / "broken", threads=1)
    monkeypatch.undo()
    assert not (tmp_path / "broken" / "settings.json").exists()
    pretrain(settings, data, tmp_path / "broken", threads=1)
    one, other = (
        load_file(checkpoint_folders(tmp_path / name / "checkpoints")[-1] / "model.safetensors")
        for name in ("whole", "broken")
    )
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert read_json(tmp_path / "broken" / "looking" / "result.json")["steps"] == 40


def test_the_run_leaves_out_what_is_only_looked_at(data: Path) -> None:
    feed = FEED.model_copy(update={"only_looked_at": ("other",)})
    for blank in (False, True):
        work = pretraining(settings_of(data, visual=feed.model_copy(update={"blank": blank})), data)
        feeds = work.open_feeds()
        state = feeds["answers"].stream.state_dict()
        assert state["digest"] == VisualSet(data / "visual", "train").of(("one",)).digest
        feeds["text"].stream.close()
    assert VisualSet(data / "visual", "train").without(("other",)).numbers.tolist() == list(range(60))


def test_a_lead_comes_first_and_is_resumed_exactly(data: Path) -> None:
    settings = settings_of(data, visual=FEED.model_copy(update={"lead_steps": 3, "only_looked_at": ("other",)}))
    everything = VisualSet(data / "visual", "train")

    def stream() -> Stream:
        feeds = pretraining(settings, data).open_feeds()
        feeds["text"].stream.close()
        return feeds["answers"].stream

    lead, rest = (PackedStream(everything.of((name,)), ROOM, 3, settings.seed) for name in ("other", "one"))
    wanted = [*(lead.next_batch() for _ in range(3)), *(rest.next_batch() for _ in range(4))]
    for stop in range(7):
        first, second = stream(), stream()
        found = [first.next_batch() for _ in range(stop)]
        second.load_state_dict(json.loads(json.dumps(first.state_dict())))
        found += [second.next_batch() for _ in range(7 - stop)]
        for one, other in zip(found, wanted, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(one.tensors, other.tensors, strict=True))
    changed = settings_of(data, visual=FEED.model_copy(update={"lead_steps": 2}))
    other_feeds = pretraining(changed, data).open_feeds()
    other_feeds["text"].stream.close()
    with pytest.raises(UserError, match="batches"):
        other_feeds["answers"].stream.load_state_dict(first.state_dict())


def test_what_is_harder_after_the_lead_is_no_spike(data: Path, tmp_path: Path) -> None:
    feed = FEED.model_copy(update={"look_steps": 0, "lead_steps": 5})
    trainer = Trainer(settings_of(data, visual=feed, steps=8), data, tmp_path, threads=1)
    trainer.guard.losses.extend([0.01] * 64)
    trainer.step = 4
    trainer.train_step()
    assert trainer.guard.skips == 1  # still in the lead: a spike
    trainer.step = 5
    trainer.train_step()
    assert trainer.guard.skips == 0 and len(trainer.guard.losses) == 1
    trainer.close()


def test_looking_needs_something_to_look_at() -> None:
    sources = [{"generator": {"families": {"single": 1}}}, {"generator": {}, "name": "scenes", "look": True}]
    assert VisualConfig.model_validate({"sources": sources, "look": 2}).looked_at == ("scenes",)
    with pytest.raises(ValueError, match="look is 2 and no source has look: true"):
        VisualConfig.model_validate({"sources": sources[:1], "look": 2})
    only = [{**sources[0], "look": "only"}]
    assert VisualConfig.model_validate({"sources": only + sources[1:], "look": 1}).only_looked_at == ("generator",)
    with pytest.raises(ValueError, match=r"lead is 0\.5 and no source has look: true"):
        VisualConfig.model_validate({"sources": sources[:1], "lead": 0.5})
    with pytest.raises(ValueError, match="every source has look: only"):
        VisualConfig.model_validate({"sources": only, "look": 1})
    with pytest.raises(ValueError, match="look and lead are 0 and 'generator' has look: only"):
        VisualConfig.model_validate({"sources": [*only, {**sources[1], "look": False}]})
