"""A small model and adapters that change it, for the tests of adapters."""

from pathlib import Path

import torch

from foretell.model.config import ModelConfig
from foretell.model.decoder import Decoder
from foretell.model.lora import Adapter

SHARED = Path(__file__).parents[3] / "shared" / "data" / "weights" / "lora_roberta_base_mnli" / "adapter.safetensors"


def small(**changes) -> ModelConfig:
    shape = {"vocab_size": 61, "width": 32, "depth": 2, "heads": 4, "kv_heads": 2, "head_dim": 8, "ffn_width": 48,
             "context": 24}  # fmt: skip
    return ModelConfig(**{**shape, **changes})


def ids_of(model: Decoder, rows: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, model.config.vocab_size, (rows, model.config.context), generator=generator)


def filled(adapter: Adapter, seed: int = 0) -> Adapter:
    """As if trained: B is no longer zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, _, b in adapter.tensors():
            b.copy_(torch.randn(b.shape, generator=generator) * 0.1)
    return adapter
