"""The model that post-training starts from, and the hash that identifies its weights."""

from __future__ import annotations

import hashlib

import torch

from foretell.infer.loading import LoadedModel, load_model
from foretell.model.decoder import Decoder
from foretell.posttrain.settings import SFTOptions


def load_base(options: SFTOptions) -> LoadedModel:
    """The model of a run: as it is where it is frozen, packed matrices too, and unpacked where all of it is trained.

    Raises:
        UserError: see :func:`foretell.infer.loading.load_model`.
    """
    return load_model(options.model, dequantise=options.full)


def load_unpacked(options: SFTOptions) -> LoadedModel:
    """The model of a run in float32."""
    return load_model(options.model, dequantise=True)


def weights_digest(model: Decoder) -> str:
    """SHA-256 of a model's tensors, packed ones too, with their names; whatever file they came from."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()
