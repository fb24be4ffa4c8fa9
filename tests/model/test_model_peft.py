"""PEFT's file format: PEFT loads ours, we load PEFT's, with the same logits."""

import json
import warnings
from pathlib import Path

import pytest
import torch
from adapted_models import filled, ids_of, small
from safetensors.torch import load_file, save_file

from foretell.core.errors import UserError
from foretell.model.decoder import build_decoder
from foretell.model.hf import load_hf, save_hf
from foretell.model.lora import Adapter, LoRAConfig
from foretell.model.peft import CONFIG_FILE, PICKLED_FILE, WEIGHTS_FILE, read_adapter, save_adapter

CONFIGS = [
    LoRAConfig(rank=4),
    LoRAConfig(rank=3, alpha=6.5, targets="all-linear", rslora=True),
    LoRAConfig(rank=2, targets=r"model\.layers\.1\..*(k|down)_proj"),
]


def test_peft_loads_ours(tmp_path: Path) -> None:
    transformers, peft = pytest.importorskip("transformers"), pytest.importorskip("peft")
    for number, (lora, shape) in enumerate(
        [(lora, {}) for lora in CONFIGS] + [(CONFIGS[1], {"qk_norm": True}), (CONFIGS[0], {"base_width": 64})]
    ):
        folder = tmp_path / str(number)
        model = build_decoder(small(**shape), 1)
        if "base_width" in shape:  # whose head starts at zero
            torch.nn.init.normal_(model.head.weight, std=0.2)
        adapter = filled(Adapter(model.config, lora))
        save_hf(model, folder / "base")
        save_adapter(adapter, folder / "adapter", base=str(folder / "base"))
        theirs = transformers.AutoModelForCausalLM.from_pretrained(folder / "base")
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # PEFT warns of missing and unexpected tensors
            theirs = peft.PeftModel.from_pretrained(theirs, folder / "adapter")
        ids = ids_of(model)
        with torch.no_grad():
            before = model(ids)
            adapter.attach(model)
            torch.testing.assert_close(model(ids), theirs(ids).logits, rtol=1e-4, atol=1e-4)
            assert (model(ids) - before).abs().max() > 1e-3
            adapter.detach(model)
            again = read_adapter(folder / "adapter", model.config)
            again.attach(model)
            torch.testing.assert_close(model(ids), theirs(ids).logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("targets", [["q_proj", "v_proj"], "all-linear", r".*\.layers\.0\.mlp\.(up|gate)_proj"])
def test_we_load_pefts(tmp_path: Path, targets) -> None:
    transformers, peft = pytest.importorskip("transformers"), pytest.importorskip("peft")
    model = build_decoder(small(), 1)
    save_hf(model, tmp_path / "base")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    config = peft.LoraConfig(r=4, lora_alpha=12, target_modules=targets, use_rslora=True, lora_dropout=0.1,
                             init_lora_weights=False, task_type="CAUSAL_LM")  # fmt: skip
    theirs = peft.get_peft_model(theirs, config).eval()
    theirs.save_pretrained(tmp_path / "adapter")
    adapter = read_adapter(tmp_path / "adapter", model.config)
    assert adapter.lora.rank == 4 and adapter.lora.rslora and adapter.lora.dropout == 0.1
    loaded = load_hf(tmp_path / "base")
    adapter.merge(loaded)
    ids = ids_of(model)
    with torch.no_grad():
        torch.testing.assert_close(loaded(ids), theirs(ids).logits, rtol=1e-4, atol=1e-4)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    save_adapter(filled(Adapter(small(), LoRAConfig())), tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("field", "value"),
    [("modules_to_save", ["lm_head"]), ("use_dora", True), ("bias", "all"), ("rank_pattern", {"q_proj": 4}),
     ("alpha_pattern", {"q_proj": 4}), ("layers_to_transform", [0]), ("exclude_modules", ["q_proj"]),
     ("init_lora_weights", "loftq"), ("init_lora_weights", "pissa_niter_4"), ("lora_bias", True),
     ("peft_type", "IA3"), ("target_modules", ["query"]), ("target_modules", None), ("r", 0),
     ("trainable_token_indices", [1]), ("a_field_of_the_future", "on")],
)  # fmt: skip
def test_what_is_not_honoured_is_named(written: Path, field: str, value) -> None:
    config = json.loads((written / CONFIG_FILE).read_text())
    (written / CONFIG_FILE).write_text(json.dumps(config | {field: value}))
    with pytest.raises(UserError, match="query" if value == ["query"] else "rank" if field == "r" else field):
        read_adapter(written, small())


def test_tensors_that_do_not_fit_are_named(written: Path) -> None:
    tensors = load_file(written / WEIGHTS_FILE)
    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
    assert name in tensors
    extra = name.replace("q_proj", "o_proj")
    for changed, words in (
        ({key: value for key, value in tensors.items() if key != name}, f"{name} is missing"),
        (tensors | {name: torch.zeros(2, 32)}, r"has shape \(2, 32\); \(8, 32\)"),
        (tensors | {extra: torch.zeros(8, 32)}, f"{extra} belongs to no layer"),
    ):
        save_file(changed, written / WEIGHTS_FILE)
        with pytest.raises(UserError, match=words):
            read_adapter(written, small())
    (written / WEIGHTS_FILE).write_bytes(b"not tensors")
    with pytest.raises(UserError, match="not readable"):
        read_adapter(written, small())
    (written / WEIGHTS_FILE).unlink()
    with pytest.raises(UserError, match="is missing"):
        read_adapter(written, small())


def test_a_pickled_file_is_read_as_tensors_only(written: Path) -> None:
    tensors = load_file(written / WEIGHTS_FILE)
    before = read_adapter(written, small())
    (written / WEIGHTS_FILE).unlink()
    torch.save(tensors, written / PICKLED_FILE)
    after = read_adapter(written, small())
    assert all(torch.equal(one, other) for one, other in zip(before.parameters(), after.parameters(), strict=True))
    torch.save({"surprise": Path("/")}, written / PICKLED_FILE)
    with pytest.raises(UserError, match="not unpickled"):
        read_adapter(written, small())
