"""The loss of a run foretold token by token, as runs of the same recipe on other corpora teach it.

A ladder's losses say little of what a model a thousand times larger will make of *this* text: how much of it is
repeated, copied or seen before. That is known of every held-out token without a large model (its *traits*), and beside
it what the largest rung paid for it. References are runs of the recipe on other corpora whose targets have been
trained: a small network learned from them what a token of such traits costs the target, and its mean over the held-out
tokens foretells the loss. How far that is off is measured: each reference was foretold from the others alone.

Letters: N tokens, F features, K corpora among the references.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from foretell.core.errors import UserError
from foretell.laws.diagnostics import interval_findings
from foretell.laws.records import Finding, Forecast

Matrix = NDArray[np.float32]
FARTHEST = 10.0  # from what tokens of references are like, in standard deviations: beyond it nothing was learned
FEWEST = 3  # references that an error can be told from
OF_THE_LADDER = ("too-few-sizes", "few-sizes", "one-seed", "set-aside", "does-not-fall", "out-of-order", "stray")


@dataclass(frozen=True)
class TokenNetwork:
    """Layers of SiLU units and one output, in nats.

    Attributes:
        centre, scale: [F], taken off the features and divided by.
        layers: weights [out, in] and biases [out] of each.
    """

    centre: Matrix
    scale: Matrix
    layers: tuple[tuple[Matrix, Matrix], ...]

    def nats(self, features: Matrix) -> Matrix:
        """Expected nats [N] of tokens with [N, F] features."""
        x = np.clip((features - self.centre) / self.scale, -FARTHEST, FARTHEST)
        for weight, bias in self.layers[:-1]:
            x = x @ weight.T + bias
            x = x / (1 + np.exp(-np.clip(x, -80, None)))
        weight, bias = self.layers[-1]
        return np.asarray((x @ weight.T + bias)[:, 0])

    def to_dict(self) -> dict[str, Any]:
        """As JSON, to six digits."""
        numbers = [self.centre, self.scale, *(part for layer in self.layers for part in layer)]
        return {"shapes": [list(part.shape) for part in numbers],
                "values": [float(f"{value:.6g}") for part in numbers for value in part.ravel().tolist()]}  # fmt: skip

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """From :meth:`to_dict`'s."""
        values, parts = np.asarray(record["values"], np.float32), []
        for shape in record["shapes"]:
            size = math.prod(shape)
            parts.append(values[:size].reshape(shape))
            values = values[size:]
        centre, scale, *rest = parts
        return cls(centre, scale, tuple(zip(rest[::2], rest[1::2], strict=True)))


@dataclass(frozen=True)
class Reference:
    """A finished run.

    Attributes:
        name: of its corpus; runs of one name speak or are silent together.
        loss: of the target, nats per held-out token.
        foretold: the same by what references of other names teach.
        tokens: held-out tokens that were learned from.
        sources: digest of where its corpus is from, or nothing where that is not known.
    """

    name: str
    loss: float
    foretold: float
    tokens: int
    sources: str = ""

    @property
    def error(self) -> float:
        """ln of the loss over what was foretold."""
        return math.log(self.loss / self.foretold)


@dataclass(frozen=True)
class TokenLaw:
    """What the references of one recipe teach.

    Attributes:
        recipe: digest of what the target and the rungs among the features are, corpus aside.
        features: names of the columns that networks read.
        references: the runs.
        network: learned from all of them.
        without: by the name of each, what the others teach.
        pairs: by the name of each, what those neither of it nor of its own name foretell of each reference; nothing
            of those of its name, nor where it is not known.
    """

    recipe: str
    features: tuple[str, ...]
    references: tuple[Reference, ...]
    network: TokenNetwork
    without: Mapping[str, TokenNetwork]
    pairs: Mapping[str, tuple[float | None, ...]] = dataclasses.field(default_factory=dict)

    @property
    def names(self) -> str:
        """Of the references, in words."""
        return ", ".join(sorted({reference.name for reference in self.references}))

    def foretell(self, features: Matrix, without: str | None = None) -> TokenForecast:
        """The mean loss of tokens with [N, F] features.

        Args:
            features: columns as :attr:`features`.
            without: a reference that must not speak, where its corpus is the one that is asked about.

        Raises:
            UserError: where ``without`` is no reference, or too few others are there to tell an error from.
        """
        speaking = self.speaking(without)
        network = self.network if without is None else self.without[without]
        nats = float(network.nats(features).mean(dtype=np.float64))
        if not nats > 0:
            raise UserError(
                f"The references foretell a loss of {nats:.3g} nats a token: this text is like none of theirs."
            )
        taught = without is not None and without not in self.pairs
        return TokenForecast(nats, _error(speaking), speaking, without, taught)

    def speaking(self, without: str | None) -> tuple[Reference, ...]:
        """The references but the one that is silent, each foretold without that one where it is known.

        Raises:
            UserError: as :meth:`foretell`.
        """
        if without is not None and without not in self.without:
            raise UserError(f"{without!r} is none of the references ({self.names}).")
        known = self.pairs.get(without or "", (None,) * len(self.references))
        speaking = tuple(
            reference if foretold is None else dataclasses.replace(reference, foretold=foretold)
            for reference, foretold in zip(self.references, known, strict=True) if reference.name != without
        )  # fmt: skip
        if len({reference.name for reference in speaking}) < FEWEST:
            but = f", and {without} is silent (named, or of this run's own sources)" if without else ""
            raise UserError(
                f"An error can be told from {FEWEST} other corpora at least; references are {self.names}{but}."
            )
        return speaking

    def silent(self, sources: str, without: str | None) -> str | None:
        """The reference that must not speak of a run: the one that is named, or the one of the run's own sources.

        Args:
            sources: digest of those of the run.
            without: the name, or nothing.

        Raises:
            UserError: where those are two, or two references have the run's sources.
        """
        own = {reference.name for reference in self.references if reference.sources == sources}
        silent = sorted(own | ({without} if without else set()))
        if len(silent) > 1:
            raise UserError(
                f"{' and '.join(silent)} would have to be silent, since {', '.join(sorted(own))} is of this run's own "
                "sources; references of which one has them, and no other forecast.without, are expected."
            )
        return silent[0] if silent else None

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "recipe": self.recipe,
            "features": list(self.features),
            "references": [dataclasses.asdict(reference) for reference in self.references],
            "network": self.network.to_dict(),
            "without": {name: network.to_dict() for name, network in self.without.items()},
            "pairs": {name: list(foretold) for name, foretold in self.pairs.items()},
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """From :meth:`to_dict`'s.

        Raises:
            UserError: where something of it is missing or of another kind.
        """
        try:
            made = cls(
                str(record["recipe"]), tuple(map(str, record["features"])),
                tuple(Reference(**reference) for reference in record["references"]),
                TokenNetwork.from_dict(record["network"]),
                {name: TokenNetwork.from_dict(network) for name, network in record["without"].items()},
                {name: tuple(foretold) for name, foretold in record.get("pairs", {}).items()},
            )  # fmt: skip
            made._check()
        except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise UserError(f"This is not a record of references: {error!r}.") from error
        return made

    def _check(self) -> None:
        """Raise ValueError or TypeError for what no run can have made."""
        one = np.zeros((1, len(self.features)), np.float32)
        for network in (self.network, *self.without.values()):
            with np.errstate(all="ignore"):
                nats = network.nats(one)
            if nats.shape != (1,) or not np.isfinite(nats).all():
                raise ValueError("a network's numbers are not finite")
        if set(self.without) != {reference.name for reference in self.references}:
            raise ValueError("without is of other names than references")
        losses = [(reference.loss, reference.foretold) for reference in self.references]
        told = [value for foretold in self.pairs.values() for value in foretold if value is not None]
        if not all(math.isfinite(value) and value > 0 for value in (*(v for pair in losses for v in pair), *told)):
            raise ValueError("a loss is not above 0")
        if not set(self.pairs) <= set(self.without) or any(len(p) != len(self.references) for p in self.pairs.values()):
            raise ValueError("pairs are of other references")


def _error(references: Iterable[Reference]) -> float:
    """Root mean square of the errors, every name counting the same."""
    squares: dict[str, list[float]] = {}
    for reference in references:
        squares.setdefault(reference.name, []).append(reference.error**2)
    return math.sqrt(math.fsum(math.fsum(of) / len(of) for of in squares.values()) / len(squares))


@dataclass(frozen=True)
class TokenForecast:
    """A mean loss in nats a token, the references' root mean square error, relative, and the one that was silent.

    ``taught`` says that the one that is silent had taught those by which the error was told.
    """

    nats: float
    error: float
    references: tuple[Reference, ...]
    silent: str | None = None
    taught: bool = False

    def half_width(self, level: float) -> float:
        """Of an interval of ln(loss): the errors are K draws of what this one is another of."""
        count = len({reference.name for reference in self.references})
        return float(student.ppf((1 + level) / 2, count)) * self.error * math.sqrt(1 + 1 / count)


def by_references(made: Forecast, told: TokenForecast, per_nat: float) -> Forecast:
    """A ladder's forecast with the references' figures in the place of its law's.

    The law goes on describing the rungs; beyond them its band is turned to what the references say. What is to be said
    of how far a law reaches no longer matters and goes.

    Args:
        made: by the ladder alone.
        told: by the references.
        per_nat: how much of the forecast's metric a nat a token is.
    """
    half, median = told.half_width(made.level), told.nats * per_nat
    low, high = median * math.exp(-half), median * math.exp(half)
    findings = [finding for finding in made.findings if finding.code in OF_THE_LADDER]
    findings += [*interval_findings((low, median, high)), _said(made, told, median)]
    return dataclasses.replace(
        made, median=median, low=low, high=high, findings=tuple(findings), band=_band(made, (low, median, high)),
        references={
            "error": told.error, "corpora": [dataclasses.asdict(reference) for reference in told.references],
            "law": {"median": made.median, "low": made.low, "high": made.high},
            "silent": told.silent, "taught": told.taught,
        },
    )  # fmt: skip


def _said(made: Forecast, told: TokenForecast, median: float) -> Finding:
    names = ", ".join(sorted({reference.name for reference in told.references}))
    inside = made.low <= median <= made.high
    but = f"; {told.silent} was silent{' but taught them' if told.taught else ''}" if told.silent else ""
    within = f"within {100 * told.error:.1f} % root mean square{but}"
    ladder = "which lies inside" if inside else f"which lies {'above' if median > made.high else 'below'}"
    return Finding(
        "references", "note" if inside else "warning",
        f"Foretold token by token, as targets of this recipe on other corpora teach it ({names}; each foretold by the "
        f"others {within}), {ladder} the interval of the ladder's law alone, {made.low:.3f} to {made.high:.3f}.",
    )  # fmt: skip


def _band(made: Forecast, interval: tuple[float, float, float]) -> dict[str, list[float]]:
    """The law's band with its median turned about the largest rung, and its width, in logarithms, so that it ends in
    the interval.
    """
    x, (low, median, high) = np.log(made.band["flops"]), np.log(interval)
    top = math.log(max(rung["flops"] for rung in made.rungs))
    share = np.clip((x - top) / (x[-1] - top), 0, 1)
    lows, medians, highs = (np.log(made.band[name]) for name in ("low", "median", "high"))
    turned = medians + share * (median - medians[-1])
    below = (1 - share) * (medians - lows) + share * (median - low)
    above = (1 - share) * (highs - medians) + share * (high - median)
    columns = {"low": turned - below, "median": turned, "high": turned + above}
    return {"flops": made.band["flops"]} | {name: np.exp(values).tolist() for name, values in columns.items()}
