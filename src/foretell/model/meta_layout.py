"""A decoder out of a folder in the layout of Meta's own LLaMA releases, and of llama2.c's models.

``params.json`` beside ``consolidated.00.pth`` and its siblings, one for each of the ranks that ran the model side by
side (``model.py`` of Meta's llama repository), or beside one ``model.safetensors`` with the same names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from foretell.core.config import build
from foretell.core.errors import UserError
from foretell.core.files import read_json
from foretell.model.assemble import Weight, assembled, half_split_rows, reordered, stacked
from foretell.model.config import ModelConfig
from foretell.model.decoder import Decoder
from foretell.model.weight_files import Taker, read_parts

PARAMS = "params.json"
CONTEXT = 2048  # where params.json states none: no LLaMA was trained on less
SCALED_CONTEXT = 131_072  # of Llama 3.1 and later, which say use_scaled_rope
# Ours -> theirs, with the dimension along which ranks share the tensor (None: each has all of it).
_TOP: dict[str, tuple[str, int | None]] = {
    "norm": ("norm", None),
    "head": ("output", 0),
}
_BLOCK: dict[str, tuple[str, int | None]] = {
    "attention_norm": ("attention_norm", None),
    "attention.output": ("attention.wo", 1),
    "feed_forward_norm": ("ffn_norm", None),
    "feed_forward.gate": ("feed_forward.w1", 0),
    "feed_forward.up": ("feed_forward.w3", 0),
    "feed_forward.down": ("feed_forward.w2", 1),
}
_QKV = ("attention.wq", "attention.wk", "attention.wv")
_TABLE = "tok_embeddings.weight"
_REQUIRED = ("dim", "n_layers", "n_heads", "norm_eps")


def _weight_files(folder: Path) -> list[Path]:
    ranks = sorted(folder.glob("consolidated.*.pth"))
    return ranks or [folder / "model.safetensors"]


def config_from_meta(params: Mapping[str, Any], weights: Mapping[str, Tensor], source: str) -> ModelConfig:
    """The shape that ``params.json`` and the weights, put together from all ranks, describe.

    Raises:
        UserError: for a missing key or tensor, or a value out of range.
    """
    missing = next((key for key in _REQUIRED if key not in params), None)
    if missing is not None:
        raise UserError(f"{source}: the key {missing!r} is missing.")
    for name in (_TABLE, "layers.0.feed_forward.w1.weight"):
        if name not in weights:
            raise UserError(f"{source}: the tensor {name} is missing.")
    heads = params["n_heads"]
    scaled = params.get("use_scaled_rope", False)
    shape = {
        "vocab_size": weights[_TABLE].shape[0],
        "width": params["dim"],
        "depth": params["n_layers"],
        "heads": heads,
        "kv_heads": params.get("n_kv_heads") or heads,
        "head_dim": params.get("head_dim") or params["dim"] // heads,
        "ffn_width": weights["layers.0.feed_forward.w1.weight"].shape[0],
        "context": params.get("max_seq_len", SCALED_CONTEXT if scaled else CONTEXT),
        "rope_theta": params.get("rope_theta", 10_000.0),
        "norm_eps": params["norm_eps"],
        "tied": "output.weight" not in weights,
        "rotary_scaling": {"kind": "llama3", "factor": params.get("rope_scaling_factor", 8)} if scaled else None,
    }
    try:
        return build(ModelConfig, shape)
    except UserError as error:
        raise UserError(f"{source}: {error}") from error


def _joined(ranks: Sequence[Mapping[str, Tensor]], name: str, dimension: int | None) -> Tensor:
    return ranks[0][name] if dimension is None else torch.cat([rank[name] for rank in ranks], dimension)


def _all_ranks(ranks: Sequence[Mapping[str, Tensor]], width: int, source: str) -> dict[str, Tensor]:
    """The tensors of all ranks, each put together along the dimension that they share."""
    if len(ranks) == 1:
        return dict(ranks[0])
    along = dict((*_TOP.values(), *_BLOCK.values())) | dict.fromkeys(_QKV, 0)
    joined: dict[str, Tensor] = {}
    for name, tensor in ranks[0].items():
        if any(name not in rank for rank in ranks):
            raise UserError(f"{source}: the tensor {name} is missing from some of the {len(ranks)} files.")
        part = name.removesuffix(".weight")
        part = part.split(".", 2)[2] if part.startswith("layers.") else part
        # The table is shared along its width up to Llama 2 and along the vocabulary from Llama 3 on.
        dimension = (1 if tensor.shape[1] < width else 0) if name == _TABLE else along.get(part)
        joined[name] = _joined(ranks, name, dimension)
    return joined


def load_meta(folder: Path, context: int | None = None) -> Decoder:
    """Read a folder in Meta's layout; ``context`` replaces a longer one.

    Raises:
        UserError: for a missing or damaged file, or a tensor that is missing, left over, or of another shape.
    """
    source = str(folder)
    params = read_json(folder / PARAMS)
    if not isinstance(params, dict) or not isinstance(params.get("dim"), int):
        raise UserError(f"{folder / PARAMS} has no whole number 'dim', as Meta's have.")
    weights = _all_ranks([read_parts([path]) for path in _weight_files(folder)], params["dim"], source)
    config = config_from_meta(params, weights, source)
    if context is not None and context < config.context:
        config = config.model_copy(update={"context": context})
    taker = Taker(weights, source)
    ours: dict[str, Weight] = {"embedding.weight": taker.take(_TABLE)}
    for mine, (theirs, _) in _TOP.items():
        if not (config.tied and mine == "head"):
            ours[f"{mine}.weight"] = taker.take(f"{theirs}.weight")
    for layer in range(config.depth):
        for mine, (theirs, _) in _BLOCK.items():
            ours[f"blocks.{layer}.{mine}.weight"] = taker.take(f"layers.{layer}.{theirs}.weight")
        query: Weight
        key: Weight
        query, key, value = (taker.take(f"layers.{layer}.{theirs}.weight") for theirs in _QKV)
        query = reordered(query, half_split_rows(config.heads, config.head_dim), f"{source}: wq of layer {layer}")
        key = reordered(key, half_split_rows(config.kv_heads, config.head_dim), f"{source}: wk of layer {layer}")
        ours[f"blocks.{layer}.attention.qkv.weight"] = stacked([query, key, value])
    taker.finish(("rope.freqs",))
    return assembled(config, ours, source)
