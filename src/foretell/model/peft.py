"""Adapters in PEFT's file format, out and in: adapter_config.json and adapter_model.safetensors.

A tensor is named ``base_model.model.``, the layer's Hugging Face name, and ``.lora_A.weight`` [R, K] or
``.lora_B.weight`` [N, R]. What a file asks for and is not done here is an error, never left out.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from foretell.core.config import build
from foretell.core.errors import UserError
from foretell.core.files import read_json, write_atomic, write_json
from foretell.model.config import ModelConfig
from foretell.model.lora import ALL_LINEAR, Adapter, LoRAConfig, Site
from foretell.model.parametrization import Parametrization

CONFIG_FILE, WEIGHTS_FILE, PICKLED_FILE = "adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"
_HONOURED = {"r": "rank", "lora_alpha": "alpha", "lora_dropout": "dropout", "use_rslora": "rslora",
             "target_modules": "targets"}  # fmt: skip
# Say where an adapter comes from, or act on its making only.
_WITHOUT_EFFECT = {
    "task_type", "base_model_name_or_path", "revision", "auto_mapping", "peft_version", "inference_mode",
    "megatron_core", "layers_pattern", "qalora_group_size", "runtime_config", "loftq_config", "eva_config",
}  # fmt: skip
_LANGUAGE_MODEL = "base_model.model.model.language_model."  # of a Llava
_OLD_LANGUAGE_MODEL = "base_model.model.language_model.model."  # before transformers 4.52
# Others (PiSSA, OLoRA, LoftQ, ...) change the base's weights too, which a file of A and B does not hold.
_PLAIN_STARTS = (True, False, None, "gaussian", "eva", "orthogonal")


def save_adapter(adapter: Adapter, folder: Path, base: str | None = None) -> None:
    """Write both files; PEFT, transformers and vLLM load them.

    Args:
        adapter: of a model that left through :func:`foretell.model.hf.save_hf`, or came in.
        folder: made where it is missing.
        base: name or path of the base model, for ``base_model_name_or_path``.

    Raises:
        UserError: where the disk is full or the folder cannot be written.
    """
    lora = adapter.lora
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": lora.rank,
        "lora_alpha": int(lora.alpha) if lora.alpha.is_integer() else lora.alpha,
        "lora_dropout": lora.dropout,
        "target_modules": _target_modules(adapter),
        "use_rslora": lora.rslora,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "init_lora_weights": True,
        "modules_to_save": None,
    }
    tensors = {}
    for site, a, b in adapter.tensors():
        name_a, name_b = _tensor_names(site)
        tensors[name_a] = a.detach().cpu().contiguous()
        tensors[name_b] = (b.detach().cpu() * _folded_factor(adapter.config, site)).contiguous()
    write_atomic(folder / WEIGHTS_FILE, save(tensors, metadata={"format": "pt"}))
    write_json(folder / CONFIG_FILE, config)


def read_adapter(folder: Path, config: ModelConfig) -> Adapter:
    """Read an adapter of a model of this shape.

    Raises:
        UserError: for a missing or damaged file, a field that is not honoured, a target that the model has not, or
            tensors that do not fit, named.
    """
    lora = _lora_config(read_json(folder / CONFIG_FILE), folder / CONFIG_FILE)
    tensors, source = _read_tensors(folder)
    if config.vision is not None:
        for name in [name for name in tensors if name.startswith(_OLD_LANGUAGE_MODEL)]:
            tensors[_LANGUAGE_MODEL + name.removeprefix(_OLD_LANGUAGE_MODEL)] = tensors.pop(name)
        of_vision = next((name for name in sorted(tensors) if not name.startswith(_LANGUAGE_MODEL)), None)
        if of_vision is not None:
            raise UserError(
                f"{source}: {of_vision} changes another layer than the language model's, which is not read."
            )
    adapter = Adapter(config, lora)
    with torch.no_grad():
        for site, a, b in adapter.tensors():
            for name, own in zip(_tensor_names(site), (a, b), strict=True):
                if name not in tensors:
                    raise UserError(f"{source}: the tensor {name} is missing.")
                found = tensors.pop(name)
                if found.shape != own.shape:
                    raise UserError(f"{source}: {name} has shape {tuple(found.shape)}; {tuple(own.shape)} is expected.")
                own.copy_(found)
            b /= _folded_factor(config, site)
    if tensors:
        raise UserError(f"{source}: {min(tensors)} belongs to no layer that target_modules names.")
    return adapter


def _target_modules(adapter: Adapter) -> Any:
    """In the words of PEFT, which would find short names and expressions in a vision half too."""
    targets = adapter.lora.targets
    if adapter.config.vision is not None:
        return [site.name for site in adapter.sites]
    if targets == ALL_LINEAR:
        return list(dict.fromkeys(site.name.rpartition(".")[2] for site in adapter.sites))
    return targets if isinstance(targets, str) else list(targets)


def _tensor_names(site: Site) -> tuple[str, str]:
    stem = f"base_model.model.{site.name}"
    return f"{stem}.lora_A.weight", f"{stem}.lora_B.weight"


def _folded_factor(config: ModelConfig, site: Site) -> float:
    """The factor that :func:`foretell.model.hf.state_to_hf` folds into this layer's weights."""
    if config.qk_norm or not site.name.endswith("q_proj"):
        return 1.0
    return Parametrization(config).attention_scale * math.sqrt(config.head_dim)


def _lora_config(values: Any, path: Path) -> LoRAConfig:
    if not isinstance(values, dict) or values.get("peft_type") != "LORA":
        kind = values.get("peft_type") if isinstance(values, dict) else values
        raise UserError(f"{path}: peft_type is {kind!r}; 'LORA' is read.")
    start = values.get("init_lora_weights", True)
    if start not in _PLAIN_STARTS:
        raise UserError(f"{path}: init_lora_weights is {start!r}, which changes the base too; it is not supported.")
    if values.get("bias", "none") != "none":
        raise UserError(f"{path}: bias is {values['bias']!r}; only 'none' is supported.")
    known = {"peft_type", "init_lora_weights", "bias", *_HONOURED, *_WITHOUT_EFFECT}
    asked = [name for name, value in values.items() if name not in known and value]
    if asked:
        named = ", ".join(f"{name} ({values[name]!r})" for name in asked)
        raise UserError(f"{path} asks for what is not supported: {named}.")
    given = {ours: values[theirs] for theirs, ours in _HONOURED.items() if theirs in values}
    if "rank" not in given or not given.get("targets"):
        raise UserError(f"{path}: r and target_modules are expected, and one of them is missing.")
    if isinstance(given["targets"], list):
        given["targets"] = tuple(sorted(given["targets"]))
    # PEFT's own defaults, where a file leaves a field out
    return build(LoRAConfig, {"alpha": 8, "dropout": 0.0, **given})


def _read_tensors(folder: Path) -> tuple[dict[str, Tensor], Path]:
    path = folder / WEIGHTS_FILE
    if not path.exists() and (folder / PICKLED_FILE).exists():
        path = folder / PICKLED_FILE
    try:
        if path.name == PICKLED_FILE:
            return torch.load(path, map_location="cpu", weights_only=True), path
        return load_file(path), path
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing.") from error
    except (SafetensorError, OSError, RuntimeError, ValueError, EOFError) as error:
        raise UserError(f"{path} is not readable as tensors ({error}).") from error
    except Exception as error:  # pickle's own kinds
        raise UserError(f"{path} holds more than tensors and is not unpickled ({type(error).__name__}).") from error
