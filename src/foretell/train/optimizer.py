"""AdamW with one group per learning rate, over the parameters that are trained."""

from __future__ import annotations

import torch

from foretell.model.decoder import Decoder
from foretell.model.parametrization import ParameterGroup
from foretell.train.config import RunSettings
from foretell.train.schedule import learning_rate_factor


def trained_parameters(model: Decoder) -> dict[str, torch.nn.Parameter]:
    """Those that require gradients, by name; a checkpoint holds them."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def build_optimizer(model: Decoder, settings: RunSettings, groups: list[ParameterGroup]) -> torch.optim.AdamW:
    """Fused AdamW (Loshchilov & Hutter 2019) over the groups.

    Weight decay is divided by the group's learning-rate multiplier, so that the product of both, the share of a weight
    that a step takes away, is the same at every width (Wortsman et al. 2023, independent weight decay).
    """
    training = settings.training
    parameters = trained_parameters(model)
    optimized = [
        {
            "params": [parameters[name] for name in group.names],
            "lr": settings.learning_rate * group.learning_rate_multiplier,
            "multiplier": group.learning_rate_multiplier,
            "weight_decay": training.weight_decay / group.learning_rate_multiplier if group.decayed else 0.0,
        }
        for group in groups
    ]
    return torch.optim.AdamW(optimized, betas=(training.beta1, training.beta2), eps=training.epsilon, fused=True)


def set_learning_rate(optimizer: torch.optim.AdamW, settings: RunSettings, step: int) -> float:
    """Give every group its learning rate for ``step``; returns the base rate."""
    rate = settings.learning_rate * learning_rate_factor(settings.training, step, settings.steps)
    for group in optimizer.param_groups:
        group["lr"] = rate * group["multiplier"]
    return rate


def optimizer_tensors(model: Decoder, optimizer: torch.optim.AdamW) -> dict[str, torch.Tensor]:
    """The optimizer's state as named tensors: ``<parameter>.<exp_avg | exp_avg_sq | step>``."""
    return {
        f"{name}.{key}": value
        for name, parameter in trained_parameters(model).items()
        for key, value in optimizer.state[parameter].items()
    }


def load_optimizer_tensors(model: Decoder, optimizer: torch.optim.AdamW, tensors: dict[str, torch.Tensor]) -> None:
    """The inverse of :func:`optimizer_tensors`."""
    for name, parameter in trained_parameters(model).items():
        state = {key: tensors[f"{name}.{key}"] for key in ("exp_avg", "exp_avg_sq", "step")}
        optimizer.state[parameter] = {
            key: value.clone().to(
                device="cpu" if key == "step" and parameter.device.type == "cpu" else parameter.device
            )
            for key, value in state.items()
        }
