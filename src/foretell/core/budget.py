"""What may be spent on a run: FLOPs, or hours of accelerators, or money, turned into training FLOPs."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass

from foretell.core.errors import UserError
from foretell.core.wording import plural

# Peak of dense bfloat16 matrix products (float16 where there is no bfloat16) with float32 accumulation, FLOP/s, without
# sparsity, as the makers' data sheets state it.
PEAKS = {
    "v100": 125e12,  # NVIDIA V100 SXM2 data sheet (float16)
    "a10": 125e12,  # NVIDIA A10 data sheet
    "a100": 312e12,  # NVIDIA A100 data sheet, both memory sizes
    "l4": 121e12,  # NVIDIA L4 data sheet, half of the figure with sparsity
    "l40s": 362e12,  # NVIDIA L40S data sheet
    "h100": 989e12,  # NVIDIA H100 SXM data sheet, half of the figure with sparsity
    "h100-pcie": 756e12,  # NVIDIA H100 PCIe data sheet, half of the figure with sparsity
    "h200": 989e12,  # NVIDIA H200 data sheet, half of the figure with sparsity
    "b200": 2250e12,  # NVIDIA DGX B200 data sheet: 18 PFLOP/s dense of eight
    "rtx3090": 71e12,  # NVIDIA Ampere GA102 whitepaper
    "rtx4090": 165e12,  # NVIDIA Ada whitepaper
    "mi250x": 383e12,  # AMD Instinct MI250X data sheet, both dies
    "mi300x": 1307e12,  # AMD Instinct MI300X data sheet
    "tpu-v4": 275e12,  # Google Cloud TPU documentation, a chip
    "tpu-v5e": 197e12,  # Google Cloud TPU documentation, a chip
    "tpu-v5p": 459e12,  # Google Cloud TPU documentation, a chip
    "tpu-v6e": 918e12,  # Google Cloud TPU documentation, a chip
}
USUAL_UTILISATION = 0.4  # of the peak, what well-kept trainers reach (PaLM's 0.46, LLaMA's and MPT's 0.35 to 0.55)
# Options that say something about accelerators, which compute alone does not need.
_RATE_OPTIONS = ("count", "mfu", "price_per_hour")


@dataclass(frozen=True)
class Budget:
    """Training compute and what it takes.

    Attributes:
        flops: training FLOPs.
        accelerator_hours: hours of one accelerator, where the accelerator is known.
        hours: the same shared by all of them.
        money: in the currency of the price, where there is one.
        origin: where the figure comes from, in words.
    """

    flops: float
    accelerator_hours: float | None
    hours: float | None
    money: float | None
    origin: str


def budget_of(
    *,
    flops: float | None = None,
    hours: float | None = None,
    money: float | None = None,
    hardware: str | None = None,
    peak_flops: float | None = None,
    count: float | None = None,
    mfu: float | None = None,
    price_per_hour: float | None = None,
) -> Budget:
    """The budget, given in exactly one of three ways.

    Args:
        flops: training FLOPs.
        hours: wall-clock hours of ``count`` accelerators.
        money: to be spent at ``price_per_hour``.
        hardware: a name in :data:`PEAKS`.
        peak_flops: FLOP/s of one accelerator, in place of ``hardware``.
        count: accelerators, 1 by default.
        mfu: share of the peak that training reaches, 0 to 1, 0.4 by default.
        price_per_hour: of one accelerator.

    Raises:
        UserError: where a budget is missing, given twice, out of range, or an option has nothing to act on.
    """
    given = {"flops": flops, "hours": hours, "money": money, "peak_flops": peak_flops, "count": count, "mfu": mfu,
             "price_per_hour": price_per_hour}  # fmt: skip
    for name, value in given.items():
        if value is not None and not 0 < value < math.inf:
            raise UserError(f"{_option(name)} is {value:g}; a finite number above zero is expected.")
    if mfu is not None and mfu > 1:
        raise UserError(f"--mfu is {mfu:g}; a share of the peak, at most 1, is expected.")
    ways = [name for name in ("flops", "hours", "money") if given[name] is not None]
    if len(ways) != 1:
        said = " and ".join(map(_option, ways)) + " are both a budget" if ways else "A budget is missing"
        raise UserError(
            f"{said}; give one of --flops F, --hours H with --hardware, or --money M with --price-per-hour."
        )
    peak = _peak(hardware, peak_flops)
    if peak is None:
        _needs_no_accelerator(ways[0], given)
        assert flops is not None
        return Budget(flops, None, None, None, "as given")
    if money is not None and price_per_hour is None:
        raise UserError("--money needs --price-per-hour, the price of one accelerator for an hour.")
    devices = 1.0 if count is None else count
    rate = peak * (USUAL_UTILISATION if mfu is None else mfu) * 3600
    if flops is not None:
        accelerator_hours, origin = flops / rate, "as given"
    elif hours is not None:
        accelerator_hours, origin = hours * devices, f"{plural(hours, 'hour')} of {plural(devices, 'accelerator')}"
    else:
        assert money is not None and price_per_hour is not None
        accelerator_hours, origin = money / price_per_hour, f"{money:g} at {price_per_hour:g} an accelerator-hour"
    if flops is None:
        origin += f", {peak:.3g} FLOP/s at a utilisation of {rate / peak / 3600:g}"
    cost = None if price_per_hour is None else accelerator_hours * price_per_hour
    return Budget(accelerator_hours * rate, accelerator_hours, accelerator_hours / devices, cost, origin)


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _peak(hardware: str | None, peak_flops: float | None) -> float | None:
    if hardware is None:
        return peak_flops
    if peak_flops is not None:
        raise UserError("--hardware and --peak-flops both give a peak; one of them is expected.")
    name = hardware.lower().replace("_", "-").replace(" ", "-")
    if name not in PEAKS:
        near = difflib.get_close_matches(name, PEAKS, n=1)
        meant = f"did you mean {near[0]}? Known are" if near else "known are"
        raise UserError(
            f"--hardware {hardware} is not known; {meant} {', '.join(PEAKS)}. --peak-flops takes the peak of any other."
        )
    return PEAKS[name]


def _needs_no_accelerator(way: str, given: dict[str, float | None]) -> None:
    if way != "flops":
        raise UserError(f"--{way} needs --hardware (or --peak-flops), whose hours it buys.")
    idle = [_option(name) for name in _RATE_OPTIONS if given[name] is not None]
    if idle:
        raise UserError(f"{idle[0]} says nothing without --hardware (or --peak-flops).")
