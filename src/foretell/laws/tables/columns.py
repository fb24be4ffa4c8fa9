"""Which column of anyone's table is what: the usual names of compute, size, data and losses."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from foretell.core.errors import UserError
from foretell.laws.tables.cells import shown

Kind = Literal["loss", "share"]
KINDS = ("loss", "share")

# Usual names, in lower case without what is not a letter or a digit; the first that a table has is taken.
ALIASES: dict[str, tuple[str, ...]] = {
    "flops": ("flops", "compute", "c", "trainingflops", "trainflops", "totalflops", "trainingcompute", "totalflos"),
    "params": ("params", "parameters", "n", "nparams", "numparams", "numparameters", "modelsize", "size",
               "parametercount", "paramcount", "totalparams", "totalparameters"),
    "tokens": ("tokens", "d", "ntokens", "numtokens", "trainingtokens", "traintokens", "tokensseen", "totaltokens",
               "numinputtokensseen", "timetoken"),
    "family": ("family", "group", "suite"),
    "run": ("run", "name", "runname", "runid", "id", "model"),
    "stage": ("stage", "state"),
    "seed": ("seed", "randomseed"),
    "step": ("step", "globalstep", "trainstep", "iteration", "iter"),
    "unique_tokens": ("uniquetokens", "numuniquetokens", "uniquetrainingtokens"),
    "epochs": ("epochs", "epoch", "numepochs", "nepochs", "numtrainepochs"),
}  # fmt: skip
NUMBERS = ("flops", "params", "tokens", "unique_tokens")  # found under any heading, as model/params or perf.total_flops
WHOLE = frozenset({"c", "n", "d", "size"})  # too short to be looked for under any heading
HEADINGS = frozenset({"config", "summary", "hparams", "hyperparameters", "metrics"})
RATES = frozenset({"throughput", "speed", "perf"})  # tokens under these may be tokens a second, totals are not
SHARE_WORDS = frozenset({"acc", "accuracy", "error", "err", "top1", "top5"})
SHARE_NAMES = ("pass_rate", "pass_at", "pass@")
HELD_OUT = ("val", "valid", "validation", "heldout", "eval", "evaluation", "test", "dev")
BITS_PER_BYTE_NAMES = ("bitsperbyte", "bpb")
LOSSES = ("loss", *BITS_PER_BYTE_NAMES, "crossentropy", "celoss", "nll", "natspertoken")
LOSS_NAMES = (
    *(name for loss in LOSSES for held in HELD_OUT for name in (held + loss, loss + held)),
    "loss", "value", "finalloss", *LOSSES[1:],
    "trainloss", "trainingloss", "losstrain", "trainbpb",
)  # fmt: skip


def plain(name: str) -> str:
    """The letters and digits of a name, in lower case."""
    return "".join(character for character in name.lower() if character.isalnum())


def _parts(column: str) -> list[str]:
    """``config.model/n_params`` as config, model, nparams; W&B's own wrapping of a setting in .value is left out."""
    parts = [part for part in (plain(text) for text in re.split(r"[./:]|\s-\s", column)) if part]
    return parts[:-1] if len(parts) > 1 and parts[-1] == "value" else parts


def _rank(key: str, column: str) -> tuple[int, int] | None:
    """How well a column's name fits, the lower the better: a whole name, one under a usual heading, under any."""
    aliases = ALIASES[key]
    if plain(column) in aliases:
        return 0, aliases.index(plain(column))
    parts = _parts(column)
    if not parts or parts[-1] not in aliases:
        return None
    above, alias = parts[:-1], parts[-1]
    if set(above) <= HEADINGS:
        return 1, aliases.index(alias)
    if key not in NUMBERS or alias in WHOLE or set(above) & set(HELD_OUT):
        return None
    if set(above) & RATES and not alias.startswith("total"):
        return None
    return 2, aliases.index(alias)


def find_columns(columns: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """For each key of :data:`ALIASES` that is there its columns, the one to take first and those as good after it."""
    found = {}
    for key in ALIASES:
        ranks = {column: rank for column in columns if (rank := _rank(key, column)) is not None}
        if ranks:
            level = min(ranks.values())[0]
            alike = [column for column, rank in ranks.items() if rank[0] == level]
            found[key] = tuple(sorted(alike, key=lambda column: ranks[column]))
    return found


def _loss_name(column: str) -> str:
    return "".join(part for part in _parts(column) if part not in HEADINGS)


def loss_columns(columns: Sequence[str]) -> list[str]:
    """Columns that may be the loss, the likeliest first: held-out ones before others, training losses last."""
    ranked = [(LOSS_NAMES.index(name), column) for column in columns if (name := _loss_name(column)) in LOSS_NAMES]
    return [column for _, column in sorted(ranked, key=lambda pair: pair[0])]


def is_share(metric: str) -> bool:
    """Whether a metric's name says that it is an accuracy or another share, not a loss."""
    words = re.split(r"[^a-z0-9]+", metric.lower())
    return bool(SHARE_WORDS & set(words)) or any(name in metric.lower() for name in SHARE_NAMES)


def share_asked(metric: str, kind: Kind | None) -> bool:
    """Whether a metric is a share: as was said, or else by its name."""
    return is_share(metric) if kind is None else kind == "share"


def kind_of(kind: object) -> Kind | None:
    """What a metric's values are said to be; ``None`` where nothing was said.

    Raises:
        UserError: for another word.
    """
    if kind is not None and kind not in KINDS:
        raise UserError(f"kind is {shown(kind)}; {' or '.join(KINDS)} is expected.")
    return kind  # type: ignore[return-value]


def names_a_loss(metric: str) -> bool:
    """Whether a metric's name says that it is a model's loss over text, of whatever text and in whatever unit.

    Benchmarks have losses of their own, of their answers (``bpb_hellaswag``, ``lambada_nll``); these are none.
    """
    if is_share(metric):
        return False
    words = re.split(r"[^a-z0-9]+", metric.lower())
    return is_bits_per_byte(metric) or _loss_name(metric) in LOSS_NAMES or "loss" in words


def is_bits_per_byte(metric: str) -> bool:
    """Whether a metric's name says that it is the loss of text in bits per byte.

    The bits per byte of a benchmark's answers (``bpb_hellaswag``) are another quantity.
    """
    name = _loss_name(metric)
    for word in ("final", "train", *sorted(HELD_OUT, key=len, reverse=True)):
        name = name.removeprefix(word).removesuffix(word)
    return name in BITS_PER_BYTE_NAMES
