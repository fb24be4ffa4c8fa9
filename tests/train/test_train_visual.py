"""Text and questions about images in one loop: what is learned, how the step is made up, exact matches, resume."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from foretell.core.errors import InterruptedRunError
from foretell.core.runlog import read_log
from foretell.data.visual.store import VisualSet
from foretell.model.decoder import build_decoder
from foretell.model.vision_config import vision_training_flops
from foretell.train import loop
from foretell.train.checkpoint import checkpoint_folders
from foretell.train.config import RunSettings, TrainingConfig, VisualFeed
from foretell.train.loop import Trainer, trained_model
from foretell.train.multimodal import ANSWERS, exact_matches, greedy_answers, pretraining
from foretell.train.objective import next_token
from small_runs import run_settings
from visual_documents import ROOM, SEEING, visual_data

MODEL = SEEING
FEED = VisualFeed(rows=3, room=ROOM, share=0.75, patches=8.0, image_patches=4.0)


@pytest.fixture(scope="module")
def data(small_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return visual_data(tmp_path_factory.mktemp("visual"), small_corpus)


def settings_of(data: Path, **changes: object) -> RunSettings:
    values: dict[str, object] = {"model": MODEL, "rows": 2, "visual": FEED, "learning_rate": 2e-2, "steps": 24}
    return run_settings(data / "tokens", **{**values, **changes})


def test_it_learns_to_look(data: Path, tmp_path: Path) -> None:
    training = TrainingConfig(evaluations=0, checkpoints=1, compile="off")
    settings = settings_of(data, steps=250, training=training)
    result = Trainer(settings, data, tmp_path, threads=1).run()
    heldout = VisualSet(data / "visual", "heldout")
    model = trained_model(tmp_path, settings)
    seen, swapped = exact_matches(model, heldout, ROOM), exact_matches(model, heldout.swapped(0), ROOM)
    assert seen.mean() > 0.9 > 0.7 > swapped.mean()
    assert result["heldout"][ANSWERS] < 0.2 and result["heldout"]["bits_per_byte"] < 6
    steps = list(read_log(tmp_path / "log.jsonl", "step"))
    assert steps[-1][ANSWERS] < 0.5 < 2 < steps[-1]["loss"] < steps[0]["loss"]


def test_exact_matches_are_what_greedy_decoding_writes(data: Path) -> None:
    heldout = VisualSet(data / "visual", "heldout")
    model = build_decoder(MODEL, 5).eval()
    torch.nn.init.normal_(model.head.weight, std=0.3, generator=torch.Generator().manual_seed(1))
    found, whole = iter(exact_matches(model, heldout, ROOM)), iter(greedy_answers(model, heldout, ROOM, passes=8))
    answered = []
    for number in range(len(heldout.lengths)):
        batch = heldout.batch([[number]], ROOM)
        branches = batch.documents[0]
        for branch in (1, 2):
            mine = (branches == 0) | (branches == branch)
            labels = batch.labels[0][mine]
            first = int((labels != -100).nonzero()[0])
            ids, wanted = batch.inputs[0][mine][: first + 1].tolist(), labels[labels != -100].tolist()
            written: list[int] = []
            for _ in wanted:
                logits = model(torch.tensor([ids + written]), None, batch.patches, batch.places)
                written.append(int(logits[0, -1].argmax()))
            answered.append(written == wanted)
            assert bool(next(found)) == answered[-1]
            assert next(whole) == (written, wanted)
    assert next(found, None) is None and next(whole, None) is None


def test_the_loss_of_a_step_is_made_up_as_its_feeds_say(data: Path, tmp_path: Path) -> None:
    settings = settings_of(data, steps=1)
    work = pretraining(settings, data)
    feeds = work.open_feeds()
    model = work.build(torch.device("cpu"))
    assert {name: feed.share for name, feed in feeds.items()} == {"text": 0.25, "answers": 0.75}
    for feed in feeds.values():
        batch = feed.stream.next_batch()
        (next_token(model, *batch.tensors) * feed.share / batch.tokens).backward()
        feed.stream.close()
    wanted = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    for threads in (1, 2):
        trainer = Trainer(settings, data, tmp_path / str(threads), threads=threads)
        trainer.forward_backward()
        for name, parameter in trainer.model.named_parameters():
            torch.testing.assert_close(parameter.grad, wanted[name], rtol=1e-3, atol=1e-6, msg=name)
        trainer.close()


def test_flops_count_both_halves(data: Path) -> None:
    settings, plain = settings_of(data), settings_of(data, visual=None)
    assert MODEL.vision is not None
    asked = settings_of(data, visual=FEED.model_copy(update={"patches": 0.0, "image_patches": 0.0})).flops_per_step
    images = FEED.rows * FEED.patches / FEED.image_patches
    assert settings.flops_per_step == pytest.approx(asked + images * vision_training_flops(MODEL.vision, 4, 32))
    assert asked > plain.flops_per_step and settings.tokens_per_step == 2 * 96 + 3 * ROOM


def test_an_interrupted_run_goes_on_exactly(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(data, steps=12)
    Trainer(settings, data, tmp_path / "whole", threads=1).run()
    countdown = iter([False, False] * 4 + [True, True])
    monkeypatch.setattr(loop, "stop_requested", lambda: next(countdown))
    with pytest.raises(InterruptedRunError):
        Trainer(settings, data, tmp_path / "broken", threads=1).run()
    monkeypatch.undo()
    Trainer(settings, data, tmp_path / "broken", threads=1).run()
    one, other = (
        load_file(checkpoint_folders(tmp_path / name / "checkpoints")[-1] / "model.safetensors")
        for name in ("whole", "broken")
    )
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_runs_without_images_keep_their_digest(small_corpus: Path) -> None:
    values = run_settings(small_corpus / "tokens").model_dump(mode="json")
    assert "visual" not in values and "vision" not in values["model"]


def test_a_blank_model_sees_blank_images(data: Path) -> None:
    work = pretraining(settings_of(data, visual=FEED.model_copy(update={"blank": True})), data)
    batch = work.open_feeds()["answers"].stream.next_batch()
    there = batch.patches[batch.places[..., 0] >= 0]
    assert np.ptp(there[:, :64].numpy()) == 0
