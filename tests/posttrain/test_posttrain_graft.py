"""The two stages of a graft: what each trains, at which rate, and what is left of the first."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from foretell.core.errors import UserError
from foretell.core.files import read_json
from foretell.model.decoder import Decoder, build_decoder
from foretell.model.lora import Adapter, LoRAConfig
from foretell.model.vision_config import ForeignEncoder
from foretell.posttrain.graft import Grafting, GraftSettings, Projecting, ProjectorSettings, grafted
from foretell.train.config import TrainingConfig, VisualFeed
from foretell.train.loop import Trainer
from foretell.train.multimodal import ANSWERS
from foretell.train.optimizer import trained_parameters
from visual_documents import ROOM, SEEING, visual_data

FEED = VisualFeed(rows=3, room=ROOM, share=0.75, patches=8.0, image_patches=4.0, look=("other", "one"))
LORA = LoRAConfig(rank=2, alpha=4)


@pytest.fixture(scope="module")
def data(small_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return visual_data(tmp_path_factory.mktemp("visual"), small_corpus, sizes=(8, 16))


@pytest.fixture
def graft() -> Decoder:
    base = build_decoder(SEEING.model_copy(update={"vision": None, "width": 48}), 1)
    with torch.no_grad():
        base.embedding.weight.mul_(0.1)
        base.head_weight.normal_(generator=torch.Generator().manual_seed(5))  # zeros before training
    return grafted(base, build_decoder(SEEING, 2), 3, 0)


def values(graft: Decoder, data: Path, steps: int) -> dict[str, object]:
    training = TrainingConfig(evaluations=0, checkpoints=1, compile="off", weight_decay=0.0)
    return {"model": graft.config, "rows": 1, "visual": FEED, "steps": steps, "learning_rate": 1e-2, "base": "base",
            "data": read_json(data / "tokens" / "index.json")["digest"], "training": training}  # fmt: skip


def projecting(graft: Decoder, data: Path, steps: int = 60) -> Projecting:
    settings = {"label": "first", "questions": 4.0, **values(graft, data, steps)}
    return Projecting(ProjectorSettings.model_validate(settings), graft, data)


def test_the_first_stage_learns_without_the_language_model_and_leaves_no_readout(
    graft: Decoder, data: Path, tmp_path: Path
) -> None:
    before = {name: tensor.clone() for name, tensor in graft.state_dict().items()}
    work = projecting(graft, data)
    start = work.evaluate(work.build(torch.device("cpu")), None)[ANSWERS]
    result = Trainer(work.stage, work, tmp_path).run()
    work.finish()
    assert result["heldout"][ANSWERS] < 0.9 * start
    after = graft.state_dict()
    assert set(after) == set(before)
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert changed == {name for name in after if name.startswith("vision.")}


def test_features_begin_as_large_as_embeddings_and_what_makes_them_learns_at_their_scale(
    graft: Decoder, data: Path
) -> None:
    work = projecting(graft, data)
    model = work.build(torch.device("cpu"))
    size = float(model.embedding.weight.detach().pow(2).mean().sqrt())
    assert size == pytest.approx(0.1, rel=0.1)
    batch = work.open_feeds()["answers"].stream.next_batch()
    assert batch.tensors[4] is not None and batch.tensors[5] is not None and model.vision is not None
    features = model.vision.features(batch.tensors[4], batch.tensors[5])
    assert float(features.detach().pow(2).mean().sqrt()) == pytest.approx(size, rel=0.5)
    groups = work.groups(model)
    rates = {name: group.learning_rate_multiplier for group in groups for name in group.names}
    assert sorted(rates) == sorted(trained_parameters(model)) and sum(len(group.names) for group in groups) == len(
        rates
    )
    assert rates["vision.projector.output.weight"] == pytest.approx(size)
    assert rates["vision.projector.input.weight"] == rates["readout.weight"] == 1
    assert rates["vision.blocks.0.attention.qkv.weight"] == 0.3
    assert rates["vision.patch_embedding.weight"] == pytest.approx(0.3 * 32 / 192)
    assert all(group.decayed == (trained_parameters(model)[name].ndim > 1) for group in groups for name in group.names)


def test_the_second_stage_trains_the_adapter_too(graft: Decoder, data: Path) -> None:
    settings = GraftSettings.model_validate({"label": "second", **values(graft, data, 2), "start": "", "lora": LORA})
    work = Grafting(settings, graft, Adapter(graft.config, LORA, 0), data)
    model = work.build(torch.device("cpu"))
    trained = trained_parameters(model)
    assert {name.split(".")[0] for name in trained} == {"vision", "blocks"}
    frozen = {name for name, _ in build_decoder(graft.config, 0).named_parameters() if not name.startswith("vision.")}
    assert not frozen & set(trained)
    assert sum(parameter.numel() for parameter in trained.values()) == settings.trained_parameters
    assert set(work.open_feeds()) == {"text", "answers"}


def test_encoders_that_another_library_runs_are_refused() -> None:
    encoder = build_decoder(SEEING, 2)
    assert encoder.config.vision is not None
    foreign = ForeignEncoder(kind="clip_vision_model", options={}, layers=(-2,))
    encoder.config = encoder.config.model_copy(
        update={"vision": encoder.config.vision.model_copy(update={"foreign": foreign})}
    )
    with pytest.raises(UserError, match="clip_vision_model; one of the Pixtral kind"):
        grafted(build_decoder(SEEING.model_copy(update={"vision": None}), 1), encoder, 3, 0)
