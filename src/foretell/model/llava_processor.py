"""How images are prepared for a vision half, as transformers' image processors and processors say it, out and in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from foretell.core.config import build
from foretell.core.errors import UserError
from foretell.core.files import read_json
from foretell.core.pixels import PIXEL_DEVIATION, PIXEL_MEAN
from foretell.model.config import ModelConfig
from foretell.model.vision_config import ForeignEncoder, VisionConfig

BICUBIC = 3  # PIL's number


def preprocessor_to_hf(vision: VisionConfig) -> dict[str, Any]:
    """The ``preprocessor_config.json`` by which transformers cuts images into this encoder's patches."""
    return {
        "image_processor_type": "PixtralImageProcessor",
        "processor_class": "PixtralProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"longest_edge": vision.longest},
        "patch_size": {"height": vision.patch, "width": vision.patch},
        "resample": BICUBIC,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(PIXEL_MEAN),
        "image_std": list(PIXEL_DEVIATION),
    }


def processor_to_hf(vision: VisionConfig, image_tokens: tuple[str, str, str]) -> dict[str, Any]:
    """The ``processor_config.json`` of these tokens: in a patch's place, at a line's end, at an image's end."""
    names = ("image_token", "image_break_token", "image_end_token")
    return {
        "processor_class": "PixtralProcessor",
        "patch_size": vision.patch,
        "spatial_merge_size": 1,
        **dict(zip(names, image_tokens, strict=True)),
    }


def with_preprocessor(config: ModelConfig, folder: Path) -> ModelConfig:
    """The shape with what a ``preprocessor_config.json`` says of an image's size, where there is such a file.

    Raises:
        UserError: where it prepares images in another way than this encoder's; a value is named.
    """
    path, vision = folder / "preprocessor_config.json", config.vision
    if vision is None or not path.exists():
        return config
    values = read_json(path)
    if not isinstance(values, dict):
        raise UserError(f"{path} holds a {type(values).__name__}; an object is expected.")
    expected = preprocessor_to_hf(vision) if vision.foreign is None else _foreign_preprocessor(vision, vision.foreign)
    free = ("size", "processor_class") if vision.foreign is None else ("image_mean", "image_std")
    for key, ours in expected.items():
        if key in values and key not in free and not _same(values[key], ours):
            raise UserError(f"{path}: {key} is {values[key]!r}; {ours!r} is read.")
    if vision.foreign is None:
        changes = {"longest": (values.get("size") or {}).get("longest_edge", vision.longest)}
    else:
        pixels = {"mean": values.get("image_mean"), "deviation": values.get("image_std")}
        found = {ours: value for ours, value in pixels.items() if value is not None}
        changes = {"foreign": {**vision.foreign.model_dump(), **found}}
    changed = build(VisionConfig, {**vision.model_dump(), **changes})
    return config.model_copy(update={"vision": changed})


def _foreign_preprocessor(vision: VisionConfig, foreign: ForeignEncoder) -> dict[str, Any]:
    """What is taken for granted of its image processor, and what it normalises pixels by."""
    square = {"height": vision.longest, "width": vision.longest}
    if foreign.kind == "clip_vision_model":
        kind: dict[str, Any] = {"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": vision.longest},
                                "do_center_crop": True, "crop_size": square}  # fmt: skip
    else:
        kind = {"image_processor_type": "SiglipImageProcessor", "size": square}
    always = {"do_resize": True, "resample": BICUBIC, "do_rescale": True, "rescale_factor": 1 / 255,
              "do_normalize": True, "image_mean": list(foreign.mean), "image_std": list(foreign.deviation)}  # fmt: skip
    return kind | always


def _same(found: Any, ours: Any) -> bool:
    """Equal, numbers to six digits: files round them differently; an image processor's class has several names."""
    if isinstance(ours, dict) and isinstance(found, int):  # a size, as older files have it
        return all(found == value for value in ours.values())
    if isinstance(ours, dict):
        return isinstance(found, dict) and all(_same(found.get(key), value) for key, value in ours.items())
    if isinstance(ours, list):
        return isinstance(found, list) and len(found) == len(ours) and all(map(_same, found, ours))
    if isinstance(ours, float):
        return isinstance(found, int | float) and abs(found - ours) <= 1e-6 * abs(ours)
    return str(found).removesuffix("Fast").removesuffix("Pil") == ours if isinstance(ours, str) else found == ours
