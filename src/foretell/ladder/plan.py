"""From one dial, the target's FLOPs, to the shapes, tokens, batches and prices of a target and its rungs.

Laws used: tokens per parameter after Hoffmann et al. 2022 (arXiv 2203.15556); batch size after Li et al. 2025, *Step
Law* (arXiv 2503.04715): 0.58 D^0.571 tokens; learning rates by muP over widths (Yang et al. 2022, arXiv 2203.03466)
and by the square root of the batch over batch sizes (Malladi et al. 2022, arXiv 2205.10287).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from foretell.core.errors import UserError
from foretell.data.config import IMAGE_TOKEN_ID
from foretell.data.visual.config import VisualConfig
from foretell.ladder.config import LadderConfig, ShapeConfig, TargetConfig
from foretell.model.config import ModelConfig, count_parameters, ffn_width_for, six_n_flops, training_flops_per_token
from foretell.model.vision_config import VisionConfig
from foretell.train.config import RunSettings, TrainingConfig, VisualFeed, looking_flops, step_positions, visual_flops

# The batch at which a base learning rate is quoted, in tokens.
REFERENCE_BATCH_TOKENS = 4096
LAW = (
    "{tpp:g} tokens per parameter with the head counted (Hoffmann et al. 2022); batch of 0.58 D^0.571 tokens "
    "(Step Law, Li et al. 2025); learning rate transferred over widths by muP (Yang et al. 2022) and over batches by "
    "their square root (Malladi et al. 2022)"
)


@dataclass(frozen=True)
class Size:
    """One size of the ladder, or the target: a shape with its tokens and batch."""

    model: ModelConfig
    steps: int
    rows: int
    visual: VisualFeed | None = None

    @property
    def step_tokens(self) -> int:
        """Positions of a step."""
        return step_positions(self.rows, self.model.context, self.visual)

    @property
    def tokens(self) -> int:
        """Training tokens, those of images included."""
        return self.steps * self.step_tokens

    @property
    def text_tokens(self) -> int:
        """Of these, tokens of text."""
        return self.steps * self.rows * self.model.context

    @property
    def flops(self) -> float:
        """Training FLOPs."""
        text = self.rows * self.model.context * training_flops_per_token(self.model)
        return looking_flops(self.model, self.visual) + self.steps * (text + visual_flops(self.model, self.visual))

    def learning_rate(self, base: float) -> float:
        """The base learning rate carried over to this size's batch; muP's multipliers do the widths."""
        return base * math.sqrt(self.step_tokens / REFERENCE_BATCH_TOKENS)


@dataclass(frozen=True)
class Plan:
    """A target, its rungs from small to large, and the runs that tune the learning rate."""

    target_config: TargetConfig
    ladder: LadderConfig
    training: TrainingConfig
    target: Size
    rungs: tuple[Size, ...]
    seed: int
    documents: int = 0  # about images, as far as their number is known

    @property
    def bytes_per_token(self) -> float:
        """UTF-8 bytes that a byte-level BPE of V tokens writes as one token, about: 0.24 log2 V."""
        return 0.24 * math.log2(self.target.model.vocab_size)

    @property
    def tuning(self) -> tuple[Size, ...]:
        """The sizes that the learning rate is tuned on: the smallest."""
        return self.rungs[: self.ladder.tuning_sizes]

    @property
    def told_by(self) -> tuple[Size, Size, Size]:
        """The sizes whose costs are what references know of a token: the smallest, the last but one and the largest."""
        return self.rungs[0], self.rungs[max(0, len(self.rungs) - 2)], self.rungs[-1]

    def run(self, size: Size, role: str, base_rate: float, seed: int, data: str) -> RunSettings:
        """The settings of one run of the plan."""
        is_target = role == "target"
        training = self.training if is_target else self.training.model_copy(
            update={"compile": "off", "evaluations": 0, "checkpoints": 4, "keep_checkpoints": 1}
        )  # fmt: skip
        return RunSettings.model_validate({
            "label": f"{role} width {size.model.width} seed {seed}" if not is_target else "target",
            "role": role, "model": size.model, "steps": size.steps, "rows": size.rows,
            "learning_rate": size.learning_rate(base_rate), "seed": seed,
            "data": data, "training": training, "visual": size.visual,
        })  # fmt: skip

    def with_documents(self, counts: Mapping[str, Any]) -> Plan:
        """The same sizes, with what their rows of questions hold by the store's own counts of its training split."""

        def known(size: Size) -> Size:
            assert size.visual is not None
            found = {
                "patches": counts["patches"] / counts["rows"],
                "image_patches": counts["patches"] / max(1, counts["images"]),
                "data": counts["digest"],
            }
            return replace(size, visual=size.visual.model_copy(update=found))

        return replace(self, target=known(self.target), rungs=tuple(map(known, self.rungs)))

    def tuning_runs(self, data: str) -> dict[float, list[RunSettings]]:
        """The runs that try each base learning rate."""
        return {
            rate: [
                self.run(size, "tuning", rate, self.seed + seed, data)
                for size in self.tuning
                for seed in range(self.ladder.tuning_seeds)
            ]
            for rate in self.ladder.learning_rates
        }

    def rung_runs(self, base_rate: float, data: str) -> list[RunSettings]:
        """Every rung and seed, the largest first so that no core idles at the end."""
        return [
            self.run(size, "rung", base_rate, self.seed + 100 + seed, data)
            for size in reversed(self.rungs)
            for seed in range(self.ladder.seeds)
        ]

    def target_run(self, base_rate: float, data: str) -> RunSettings:
        """The target."""
        return self.run(self.target, "target", base_rate, self.seed, data)


@dataclass(frozen=True)
class Family:
    """What every size of a ladder shares, and how one is made of a width or of a number of tokens."""

    shape: ShapeConfig
    vocab_size: int
    visual: VisualConfig | None = None

    def model_at(self, width: int) -> ModelConfig:
        """The model at ``width``: heads of a fixed dimension, as many as fit and at least one."""
        shape = self.shape
        heads = max(1, round(width / shape.head_dim))
        grouped = shape.queries_per_key if heads % shape.queries_per_key == 0 else 1
        return ModelConfig(
            vocab_size=self.vocab_size, width=width, depth=shape.depth, heads=heads, kv_heads=heads // grouped,
            head_dim=shape.head_dim, ffn_width=ffn_width_for(width), context=shape.context,
            rope_theta=shape.rope_theta, qk_norm=shape.qk_norm, tied=shape.tied, base_width=shape.base_width,
            vision=None if self.visual is None else self._vision_at(width),
        )  # fmt: skip

    def _vision_at(self, width: int) -> VisionConfig:
        vision = self.shape.vision
        heads = max(1, round(width * vision.width_ratio / vision.head_dim))
        own_width = heads * vision.head_dim
        return VisionConfig(
            patch=vision.patch, longest=vision.longest, width=own_width, depth=vision.depth, heads=heads,
            head_dim=vision.head_dim, ffn_width=ffn_width_for(own_width),
            base_width=max(1, round(self.shape.base_width * vision.width_ratio)), image_token=IMAGE_TOKEN_ID,
        )  # fmt: skip

    def size_for(self, model: ModelConfig, tokens: float) -> Size:
        """A size trained on about ``tokens``, in whole steps; ``share`` of them are of questions about images."""
        visual, feed = self.visual, None
        rows = batch_rows(tokens, model.context, 1.0 if visual is None else visual.batch_factor)
        if visual is not None:
            positions = rows * model.context
            feed = self._feed(max(1, round(visual.share * positions / visual.room)))
            rows = max(1, round((1 - visual.share) * rows))
        steps = max(1, round(tokens / step_positions(rows, model.context, feed)))
        if visual is not None and feed is not None and (visual.look or visual.lead):
            feed = feed.model_copy(update={
                "look": visual.looked_at, "only_looked_at": visual.only_looked_at,
                "look_steps": math.ceil(visual.look * steps), "lead_steps": round(visual.lead * steps),
            })  # fmt: skip
        return Size(model, steps, rows, feed)

    def _feed(self, rows: int) -> VisualFeed:
        """Before the documents are there: half of a row is taken to be patches, in images of the largest size."""
        assert self.visual is not None
        vision, room = self.shape.vision, self.visual.room
        return VisualFeed(rows=rows, room=room, share=self.visual.share, patches=room / 2,
                          image_patches=min(room / 2, (vision.longest / vision.patch) ** 2))  # fmt: skip

    def natural(self, model: ModelConfig, tokens_per_parameter: float) -> Size:
        """The size on the tokens that the shape asks for."""
        return self.size_for(model, tokens_per_parameter * count_parameters(model).with_head)


def batch_rows(tokens: float, context: int, factor: float = 1.0) -> int:
    """Rows of a batch for a run of ``tokens``: ``factor`` times Step Law's 0.58 D^0.571 tokens in whole rows.

    At least two rows; from 16 on a multiple of eight, so that replicas and micro-batches have equal shares.
    """
    rows = factor * 0.58 * tokens**0.571 / context
    return max(2, round(rows)) if rows < 12 else 8 * round(rows / 8)


def plan_target(family: Family, target: TargetConfig) -> Size:
    """The width, a multiple of the head dimension, whose natural compute is nearest the target's; tokens fill it up."""
    step = family.shape.head_dim

    def natural(width: int) -> Size:
        return family.natural(family.model_at(width), target.tokens_per_parameter)

    def distance(width: int) -> float:
        return abs(math.log(natural(width).flops / target.flops))

    width = step
    while distance(width + step) < distance(width):
        width += step
    size = natural(width)
    return family.size_for(size.model, target.flops / size.flops * size.tokens)


def plan_rungs(family: Family, target: TargetConfig, ladder: LadderConfig) -> tuple[Size, ...]:
    """Sizes from small to large whose compute stays under ``target.flops / ladder.ratio``.

    Raises:
        UserError: where the target is too small to have a ladder.
    """
    limit = target.flops / ladder.ratio
    fitting: list[tuple[float, int]] = []
    width = -(-ladder.minimum_width // ladder.width_step) * ladder.width_step
    while (size := family.natural(family.model_at(width), target.tokens_per_parameter)).flops <= limit:
        fitting.append((size.flops, width))
        width += ladder.width_step
    if len(fitting) < ladder.sizes:
        raise UserError(
            f"target.flops is {target.flops:.3g}: rungs may cost up to 1/{ladder.ratio:g} of it, {limit:.2g} FLOPs, "
            f"and {len(fitting)} widths from {ladder.minimum_width} up fit that; {ladder.sizes} are asked for. Raise "
            "target.flops, or lower ladder.sizes, ladder.ratio, ladder.width_step or tokenizer.vocab_size."
        )
    largest = math.log(fitting[-1][0])
    chosen: list[int] = []
    for index in range(ladder.sizes):
        wanted = largest - math.log(ladder.span) * index / max(1, ladder.sizes - 1)
        free = [(flops, width) for flops, width in fitting if width not in chosen]
        chosen.append(min(free, key=lambda item: abs(math.log(item[0]) - wanted))[1])
    return tuple(family.natural(family.model_at(width), target.tokens_per_parameter) for width in sorted(chosen))


def make_plan(family: Family, target: TargetConfig, ladder: LadderConfig, training: TrainingConfig, seed: int) -> Plan:
    """Plan a target and its ladder from settings alone.

    Raises:
        UserError: where the target is too small for the ladder asked for.
    """
    rungs = plan_rungs(family, target, ladder)
    documents = family.visual.documents if family.visual else 0
    return Plan(target, ladder, training, plan_target(family, target), rungs, seed, documents)


# What a small run takes besides its training steps: start, evaluation on the held-out text, saving (measured: 3 to 4).
RUN_SECONDS = 3.5


def efficiency(width: int) -> float:
    """Share of the matrix-product peak that a width reaches on a CPU (measured: 31 % at 64, 65 % at 256)."""
    return width / (width + 140.0)


def price(plan: Plan, peak: float, cores: int) -> dict[str, float]:
    """What the plan costs, from the machine's measured ``peak`` in FLOP/s over all its ``cores``."""
    tuning = [run for runs in plan.tuning_runs("").values() for run in runs]
    small = [*tuning, *plan.rung_runs(1.0, "")]
    processes = min(cores, plan.ladder.processes or cores)
    seconds = [RUN_SECONDS + run.flops / (peak / cores * efficiency(run.model.width)) for run in small]
    ladder_seconds = sum(seconds) / processes
    target_seconds = plan.target.flops / (peak * efficiency(plan.target.model.width))
    ladder_flops = sum(run.flops for run in small)
    weights = count_parameters(plan.target.model).total * 4
    vision = plan.target.model.vision
    # Of a document: its pixels, at most, and four numbers a position.
    images = plan.documents * (3 * vision.longest**2 + 16 * plan.target.model.context) if vision else 0
    return {
        "flops": ladder_flops + plan.target.flops,
        "ladder_flops": ladder_flops,
        "ladder_share_of_flops": ladder_flops / plan.target.flops,
        "ladder_seconds": ladder_seconds,
        "target_seconds": target_seconds,
        "estimated_seconds": ladder_seconds + target_seconds,
        "disk_bytes": weights * (3 * plan.training.keep_checkpoints + 1) + plan.target.text_tokens * 6 + images + 5e7,
    }


def _describe(size: Size, target_flops: float) -> dict[str, Any]:
    model = size.model
    return {
        "width": model.width, "depth": model.depth, "heads": model.heads, "kv_heads": model.kv_heads,
        "head_dim": model.head_dim, "ffn_width": model.ffn_width, "context": model.context,
        "vocab_size": model.vocab_size, "parameters": count_parameters(model).model_dump(), "tokens": size.tokens,
        "flops": size.flops, "flops_6nd": six_n_flops(model, size.tokens), "steps": size.steps,
        "batch_rows": size.rows, "ratio": target_flops / size.flops,
        **({"visual_rows": size.visual.rows, "visual_room": size.visual.room} if size.visual else {}),
    }  # fmt: skip


def plan_record(plan: Plan, peak: float, cores: int) -> dict[str, Any]:
    """The plan as the run directory keeps it and the report shows it."""
    law = LAW.format(tpp=plan.target_config.tokens_per_parameter)
    seeds = [plan.seed + 100 + seed for seed in range(plan.ladder.seeds)]
    return {
        "target": {**_describe(plan.target, plan.target.flops), "law": law},
        "rungs": [{**_describe(size, plan.target.flops), "seeds": seeds} for size in plan.rungs],
        "tuning": [_describe(size, plan.target.flops) for size in plan.tuning],
        "learning_rates": list(plan.ladder.learning_rates),
        "price": price(plan, peak, cores),
    }


def planned_sizes(record: dict[str, Any]) -> list[tuple[Any, ...]]:
    """The sizes of a plan's record: width, feed-forward width, heads, batch and steps of each."""
    sizes = [*record["rungs"], *record["tuning"], record["target"]]
    return [(size["width"], size["ffn_width"], size["heads"], size["batch_rows"], size["steps"]) for size in sizes]
