"""Which column is what, by the names that trainers and loggers write."""

import pytest

from foretell.laws.tables.columns import find_columns, is_bits_per_byte, is_share, loss_columns


@pytest.mark.parametrize(
    ("key", "column"),
    [
        ("flops", "C"), ("flops", "Training FLOPs"), ("flops", "train/total_flos"), ("flops", "summary.total_flops"),
        ("flops", "perf/total_flops"), ("params", "config.n_params"), ("params", "model/params"),
        ("params", "model/num_parameters"), ("params", "config.n_params.value"), ("params", "hparams/N"),
        ("tokens", "train/tokens"), ("tokens", "throughput/total_tokens"), ("tokens", "time/token"),
        ("tokens", "train/num_input_tokens_seen"), ("run", "Name"), ("stage", "State"), ("step", "_step"),
        ("seed", "config.seed"), ("unique_tokens", "unique_tokens"), ("epochs", "num_train_epochs"),
    ],
)  # fmt: skip
def test_names_that_are_known(key: str, column: str) -> None:
    assert find_columns(["Notes", column, "lr"]) == {key: (column,)}


@pytest.mark.parametrize(
    "column",
    ["eval/tokens", "flops_per_second", "throughput/tokens", "perf/flops", "tokens/sec", "vocab.size", "optimizer.name",
     "config.data.c", "valid.n_tokens", "", "---", "tokens_per_step"],
)  # fmt: skip
def test_names_that_only_look_alike(column: str) -> None:
    assert find_columns([column]) == {}


def test_the_plainest_name_is_taken_and_equals_are_told() -> None:
    columns = ["config.params", "model/params", "params", "mix/tokens", "data/tokens"]
    assert find_columns(columns) == {"params": ("params",), "tokens": ("mix/tokens", "data/tokens")}
    assert find_columns(columns[:2])["params"] == ("config.params",)


@pytest.mark.parametrize(
    ("columns", "order"),
    [
        (["loss", "val_loss"], ["val_loss", "loss"]),
        (["train/loss", "eval/loss", "lr"], ["eval/loss", "train/loss"]),
        (["summary.loss", "summary.val_loss"], ["summary.val_loss", "summary.loss"]),
        (["train_loss", "loss"], ["loss", "train_loss"]),
        (["test loss", "Validation Loss"], ["Validation Loss", "test loss"]),
        (["heldout/bits_per_word", "heldout/bits_per_byte", "heldout/nats_per_token"],
         ["heldout/bits_per_byte", "heldout/nats_per_token"]),
        (["loss/val", "bpb"], ["loss/val", "bpb"]),
        (["accuracy", "loss_scale", "eval/hellaswag/acc"], []),
    ],
)  # fmt: skip
def test_held_out_losses_come_first(columns: list[str], order: list[str]) -> None:
    assert loss_columns(columns) == order


@pytest.mark.parametrize("name", ["bpb", "bits_per_byte", "val_bpb", "eval/bpb", "summary.heldout/bits_per_byte",
                                  "Bits per byte", "final_bpb", "bpb_val"])  # fmt: skip
def test_bits_per_byte_of_text(name: str) -> None:
    assert is_bits_per_byte(name)


@pytest.mark.parametrize("name", ["loss", "bpb_hellaswag", "bits_per_word", "bpbs", "eval"])
def test_other_losses(name: str) -> None:
    assert not is_bits_per_byte(name)


def test_shares() -> None:
    assert is_share("eval/hellaswag/acc") and is_share("pass_rate_gsm8k") and not is_share("loss_acceleration")
