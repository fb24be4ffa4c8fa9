"""The vision half of a Llava whose encoder transformers runs: CLIP or SigLIP, frozen, on images of one size.

Images come cut into patches, as the other vision half takes them, and are put together again. Letters:
:mod:`foretell.model.vision`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foretell.core.errors import UserError
from foretell.model.config import ModelConfig
from foretell.model.vision import Projector, VisionTower
from foretell.model.vision_config import CHANNELS, ForeignEncoder


def foreign_encoder(foreign: ForeignEncoder) -> nn.Module:
    """The encoder as transformers builds it.

    Raises:
        UserError: where transformers is not installed, or does not take its options.
    """
    try:
        from transformers import AutoModel
        from transformers.models.auto.configuration_auto import CONFIG_MAPPING
    except ImportError as error:
        raise UserError(
            f"The model's image encoder is a {foreign.kind}, which transformers runs: pip install 'foretell[llava]'."
        ) from error
    options = {key: value for key, value in foreign.options.items() if key != "model_type"}
    try:
        whole = AutoModel.from_config(CONFIG_MAPPING[foreign.kind](**options))
    except (TypeError, ValueError) as error:
        raise UserError(f"transformers does not build the {foreign.kind} of this model ({error}).") from error
    # its class of before transformers 5 wraps the same module
    found: nn.Module = getattr(whole, "vision_model", whole)
    return found


class ForeignTower(VisionTower):
    """Encoder and projector that are called as those of a vision half of our own are.

    Args:
        config: of the whole model; ``config.vision.foreign`` is there.

    Raises:
        UserError: see :func:`foreign_encoder`.
    """

    def __init__(self, config: ModelConfig) -> None:
        nn.Module.__init__(self)
        assert config.vision is not None and config.vision.foreign is not None
        self.config = config.vision
        self.layers = config.vision.foreign.layers
        self.tower = foreign_encoder(config.vision.foreign).requires_grad_(False)
        self.projector = Projector(len(self.layers) * config.vision.width, config.width, config.vision.projector_bias)

    def restore_buffers(self) -> None:
        """Fill what no file holds, after weights have been put into a module without memory."""
        for name, buffer in list(self.tower.named_buffers()):
            if not buffer.is_meta:
                continue
            parent, _, last = name.rpartition(".")
            if last != "position_ids":
                raise AssertionError(f"the encoder has a buffer {name}, whose values are not known")
            self.tower.get_submodule(parent).position_ids = torch.arange(buffer.shape[-1]).expand(buffer.shape)

    def features(self, patches: Tensor, places: Tensor) -> Tensor:
        """[N, D] features of the N patches that are none of padding, row by row.

        Raises:
            UserError: where an image has not all patches of the encoder's square.
        """
        there = places[..., 0] >= 0
        if not there.any():
            return patches.new_zeros(0, self.projector.output.out_features)
        pixels = self._images(patches[there], places[there])
        with torch.no_grad():
            states = self.tower(pixel_values=pixels, output_hidden_states=True).hidden_states
        grid = self.config.longest // self.config.patch
        # a class token comes before the patches where there is one
        chosen = torch.cat([states[layer][:, -(grid**2) :] for layer in self.layers], dim=-1)
        return self.projector(chosen.flatten(0, 1))

    def _images(self, patches: Tensor, places: Tensor) -> Tensor:
        """[N, C] patches and their places as the [images, 3, pixels, pixels] that they were cut from."""
        side, longest = self.config.patch, self.config.longest
        grid = longest // side
        expected = torch.cartesian_prod(torch.arange(grid), torch.arange(grid)).to(places.device)
        if len(patches) % len(expected) or not torch.equal(
            places[:, 1:], expected.repeat(len(patches) // len(expected), 1)
        ):
            raise UserError(
                f"The model's image encoder reads images of {longest} x {longest} pixels, cut into {grid} x {grid} "
                "patches, and was given another image."
            )
        whole = patches.view(-1, grid, grid, CHANNELS, side, side).permute(0, 3, 1, 4, 2, 5)
        whole = whole.reshape(len(whole), CHANNELS, grid * side, grid * side)
        border = longest - grid * side  # pixels that fill no patch are not read
        return F.pad(whole, (0, border, 0, border))
