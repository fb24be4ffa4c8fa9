"""``foretell bench vision``: two images and a question, from pixels to the first token, against transformers' Llava.

Both peers hold the same weights, get the same images and ids, have all cores and work when told to, in turn.
"""

from __future__ import annotations

import importlib.util
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from foretell.core.errors import UserError
from foretell.core.hardware import available_cores, environment, keep_freed_memory
from foretell.core.peers import Peer
from foretell.core.progress import track
from foretell.data.images import patches_of, prepare
from foretell.infer.blocks import BLOCK, BlockPool
from foretell.infer.native.library import kernels
from foretell.infer.packed import pack_decoder
from foretell.infer.packed_vision import pack_vision
from foretell.infer.paged import PagedCache, Span
from foretell.model.config import ModelConfig, count_parameters, ffn_width_for, forward_flops_per_token
from foretell.model.decoder import build_decoder
from foretell.model.hf import load_hf, save_hf
from foretell.model.vision import VisionTower
from foretell.model.vision_config import VisionConfig, vision_flops

IMAGES, QUESTION = 2, 32  # of a prompt; tokens
PATCH_ID, LINE_ID, END_ID, FIRST_TEXT_ID = 1, 2, 3, 100
PARTS = ("images", "encoder", "prompt", "all")


def bench_shape(name: str) -> ModelConfig:
    """What is timed: ``small``, decoder and encoder of four layers, or ``smollm2``, SmolLM2-135M's decoder with six.

    Raises:
        UserError: for another name.
    """
    wide = name == "smollm2"
    width = 192 if wide else 128
    vision = VisionConfig(patch=8, width=width, depth=6 if wide else 4, heads=width // 32, head_dim=32,
                          ffn_width=ffn_width_for(width), longest=128, image_token=PATCH_ID)  # fmt: skip
    if name == "small":
        return ModelConfig(vocab_size=4_096, width=192, depth=4, heads=6, kv_heads=6, head_dim=32,
                           ffn_width=ffn_width_for(192), context=1_024, vision=vision)  # fmt: skip
    if wide:
        return ModelConfig(vocab_size=49_152, width=576, depth=30, heads=9, kv_heads=3, head_dim=64, ffn_width=1_536,
                           context=2_048, rope_theta=100_000.0, tied=True, vision=vision)  # fmt: skip
    raise UserError(f"--shapes has {name!r}; small and smollm2 are known.")


@dataclass(frozen=True)
class Work:
    """A prompt: images, uint8 [H, W, 3] each, and the question's ids after them."""

    images: tuple[NDArray[np.uint8], ...]
    question: tuple[int, ...]


@dataclass(frozen=True)
class Done:
    """Seconds of each of :data:`PARTS`, and the [V] logits of the first token of the answer."""

    seconds: dict[str, float]
    logits: NDArray[np.float32]


Answer = Callable[[Work], Done]


def work_of(config: ModelConfig, seed: int) -> Work:
    """Images of noise, as large as they may be, and random ids."""
    assert config.vision is not None
    generator = np.random.default_rng(seed)
    side = config.vision.longest
    images = tuple(generator.integers(0, 256, (side, side, 3), dtype=np.uint8) for _ in range(IMAGES))
    question = generator.integers(FIRST_TEXT_ID, config.vocab_size, QUESTION)
    return Work(images, tuple(int(token) for token in question))


def ids_of(grids: Sequence[tuple[int, int]], question: Sequence[int]) -> Tensor:
    """[1, T] ids: for each image of (rows, columns) of patches its tokens, then the question."""
    ids: list[int] = []
    for rows, columns in grids:
        ids += ([PATCH_ID] * columns + [LINE_ID]) * rows
        ids[-1] = END_ID
    return torch.tensor([[*ids, *question]])


def foretell_peer(folder: str, threads: int) -> Answer:
    """The layers as the engine runs them."""
    keep_freed_memory()
    torch.set_num_threads(1)
    decoder, built = load_hf(Path(folder)), kernels(threads)
    config, tower = decoder.config, decoder.vision
    assert config.vision is not None and isinstance(tower, VisionTower)
    vision = config.vision
    pack_vision(tower, built)
    head = pack_decoder(decoder, built)
    pool = BlockPool(config, 2**29, built.lanes)

    @torch.inference_mode()
    def answer(work: Work) -> Done:
        images = [Image.fromarray(pixels) for pixels in work.images]
        start = time.perf_counter()
        parts = [patches_of(prepare(image, vision.patch, vision.longest), vision.patch) for image in images]
        patches = torch.from_numpy(np.concatenate([values for values, _ in parts]))[None]
        numbers = np.repeat(np.arange(len(parts)), [len(values) for values, _ in parts])
        places = np.concatenate([numbers[:, None], np.concatenate([at for _, at in parts])], axis=1)
        grids = [(int(at[-1, 0]) + 1, int(at[-1, 1]) + 1) for _, at in parts]
        ids = ids_of(grids, work.question)
        prepared = time.perf_counter()
        features = tower.features(patches, torch.from_numpy(places)[None])
        encoded = time.perf_counter()
        blocks = [block for _ in range(-(-ids.shape[1] // BLOCK)) if (block := pool.take()) is not None]
        cache = PagedCache(pool, [Span(0, ids.shape[1], blocks)], built)
        logits = head(decoder.states(decoder.embed_features(ids, features), cache)[0, -1:])[0]
        end = time.perf_counter()
        pool.release(blocks)
        return Done(_parts(start, prepared, encoded, end), logits.numpy())

    return answer


def transformers_peer(folder: str, threads: int) -> Answer:
    """Its image processor (torchvision's where that is installed, else PIL's) and its model, in float32."""
    from transformers import AutoImageProcessor, LlavaForConditionalGeneration

    torch.set_num_threads(threads)
    model = LlavaForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    processor = AutoImageProcessor.from_pretrained(folder)
    patch = model.config.vision_config.patch_size
    times: list[float] = []
    projector = next(part for name, part in model.named_modules() if name.endswith("multi_modal_projector"))
    projector.register_forward_hook(lambda *_: times.append(time.perf_counter()))

    @torch.inference_mode()
    def answer(work: Work) -> Done:
        times.clear()
        images = [Image.fromarray(pixels) for pixels in work.images]
        start = time.perf_counter()
        inputs = processor(images=images, return_tensors="pt")
        grids = [(int(height) // patch, int(width) // patch) for height, width in inputs["image_sizes"]]
        ids = ids_of(grids, work.question)
        prepared = time.perf_counter()
        out = model(input_ids=ids, pixel_values=inputs["pixel_values"], image_sizes=inputs["image_sizes"],
                    use_cache=True, logits_to_keep=1)  # fmt: skip
        end = time.perf_counter()
        return Done(_parts(start, prepared, times[-1], end), out.logits[0, -1].numpy())

    return answer


def _parts(start: float, prepared: float, encoded: float, end: float) -> dict[str, float]:
    return dict(zip(PARTS, (prepared - start, encoded - prepared, end - encoded, end - start), strict=True))


_BUILDERS = {"foretell": foretell_peer, "transformers": transformers_peer}


def time_shape(name: str, rounds: int, cores: int) -> dict[str, Any]:
    """Median seconds of every part of both peers, taken in turn, for one of :func:`bench_shape`."""
    config = bench_shape(name)
    assert config.vision is not None
    model = build_decoder(config)
    torch.nn.init.normal_(model.norm.weight, 1.0, 0.1)
    seconds: dict[str, dict[str, list[float]]] = {peer: {part: [] for part in PARTS} for peer in _BUILDERS}
    differences = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        save_hf(model, Path(folder))
        del model
        peers = {peer: stack.enter_context(Peer(build, folder, cores)) for peer, build in _BUILDERS.items()}
        for index in track(range(rounds + 1), f"shape {name}", rounds + 1):
            work = work_of(config, index)
            answers = {peer: process.ask(work) for peer, process in peers.items()}
            if index == 0:  # the first is to warm up
                continue
            for peer, done in answers.items():
                for part in PARTS:
                    seconds[peer][part].append(done.seconds[part])
            ours, theirs = answers.values()
            differences.append(float(np.abs(ours.logits - theirs.logits).max()))
    medians = {peer: {part: statistics.median(values) for part, values in found.items()}
               for peer, found in seconds.items()}  # fmt: skip
    side = config.vision.longest // config.vision.patch
    tokens = IMAGES * side * (side + 1) + QUESTION
    flops = IMAGES * vision_flops(config.vision, side * side, config.width)
    return {
        "shape": name,
        "model": config.model_dump(mode="json"),
        "parameters": count_parameters(config).model_dump(),
        "prompt_tokens": tokens,
        "flops": {"encoder": flops, "prompt": tokens * forward_flops_per_token(config, tokens)},
        "seconds": medians,
        "ratio": {part: medians["transformers"][part] / medians["foretell"][part] for part in PARTS},
        "largest_difference": max(differences),
        "all": seconds,
    }


def bench_vision(shapes: Sequence[str], rounds: int) -> dict[str, Any]:
    """Time every shape.

    Raises:
        UserError: where transformers is not installed, a name is unknown, or fewer than three rounds are asked for.
    """
    try:
        import transformers
    except ImportError as error:
        raise UserError("foretell bench vision compares with transformers: pip install transformers.") from error
    if rounds < 3:
        raise UserError(f"--rounds is {rounds}; at least 3 are needed for a median.")
    for name in shapes:
        bench_shape(name)
    cores = available_cores()
    processor = "PIL" if importlib.util.find_spec("torchvision") is None else "torchvision"
    return {
        "what": f"{IMAGES} images of 128 x 128 and a question of {QUESTION} tokens, from pixels to the first token; "
                f"seconds, medians of {rounds}",
        "environment": {**environment(), "transformers": transformers.__version__, "threads": cores,
                        "image_processor": processor},
        "rows": [time_shape(name, rounds, cores) for name in shapes],
    }  # fmt: skip
