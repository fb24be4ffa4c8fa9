"""A real LLaMA in Meta's layout against the logits of its own code; ranks side by side give the same model."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from foretell.core.errors import UserError
from foretell.model.meta_layout import load_meta

SHARED = Path(__file__).parents[3] / "shared" / "data" / "weights" / "stories260K"
pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared weights are not here")


@pytest.fixture(scope="module")
def stories():
    return load_meta(SHARED)


@pytest.mark.parametrize("name", ["random", "greedy"])
def test_logits_are_those_of_its_own_code(stories, name):
    reference = load_file(SHARED / f"reference_{name}_logits.safetensors")
    ids = reference["input_ids"].view(-1, reference["logits"].shape[-2]).long()
    with torch.no_grad():
        found = stories(ids).view(reference["logits"].shape)
    torch.testing.assert_close(found, reference["logits"], rtol=0, atol=1e-4)


def split_in_ranks(folder: Path, along_width: bool) -> None:
    """The same model as two ranks of Meta's would hold it."""
    shutil.copy(SHARED / "params.json", folder)
    state = load_file(SHARED / "model.safetensors")
    columns = ("wq.weight", "wk.weight", "wv.weight", "w1.weight", "w3.weight", "output.weight")
    for rank in range(2):
        part = {}
        for name, tensor in state.items():
            if name == "tok_embeddings.weight":
                part[name] = tensor.chunk(2, 1 if along_width else 0)[rank].clone()
            elif name.endswith(columns):
                part[name] = tensor.chunk(2, 0)[rank].clone()
            elif name.endswith(("wo.weight", "w2.weight")):
                part[name] = tensor.chunk(2, 1)[rank].clone()
            else:
                part[name] = tensor
        torch.save({**part, "rope.freqs": torch.ones(4)}, folder / f"consolidated.0{rank}.pth")


@pytest.mark.parametrize("along_width", [True, False])
def test_ranks_are_put_together(tmp_path, stories, along_width):
    split_in_ranks(tmp_path, along_width)
    again = load_meta(tmp_path, context=64)
    assert again.config.context == 64
    for name, tensor in stories.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name


def test_broken_folders_get_one_sentence(tmp_path):
    with pytest.raises(UserError, match=r"params.json is missing"):
        load_meta(tmp_path)
    (tmp_path / "params.json").write_text('{"dim": "x"}')
    with pytest.raises(UserError, match="has no whole number 'dim'"):
        load_meta(tmp_path)
    params = json.loads((SHARED / "params.json").read_text())
    (tmp_path / "params.json").write_text(json.dumps(params))
    with pytest.raises(UserError, match=r"model.safetensors is missing"):
        load_meta(tmp_path)
    shutil.copy(SHARED / "model.safetensors", tmp_path)
    (tmp_path / "params.json").write_text(json.dumps({**params, "n_kv_heads": 8}))
    with pytest.raises(UserError, match="wk of layer 0 has 32 rows and its configuration says 64"):
        load_meta(tmp_path)
    (tmp_path / "params.json").write_text(json.dumps({**params, "n_layers": 4}))
    with pytest.raises(UserError, match=r"layers.4.* has no place in this decoder"):
        load_meta(tmp_path)
