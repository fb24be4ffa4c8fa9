"""``foretell bench``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from rich.table import Table

from foretell.cli.output import out
from foretell.core.files import write_json
from foretell.core.progress import say


def bench(arguments: argparse.Namespace) -> int:
    """``foretell bench train`` and ``foretell bench sft``."""
    record = _sft(arguments) if arguments.what == "sft" else _train(arguments)
    if arguments.output:
        write_json(Path(arguments.output), record)
        say(f"written to {arguments.output}")
    else:
        say(json.dumps(record["environment"]))
    return 0


def _train(arguments: argparse.Namespace) -> dict[str, Any]:
    from foretell.train.bench import bench_train

    record = bench_train(arguments.widths, arguments.steps)
    table = Table(title="Training step, tokens/s (medians, interleaved)", title_justify="left", box=None)
    for column in ("width", "foretell", "eager", "transformers", "ratio", "eager ratio", "share of peak"):
        table.add_column(column, justify="right")
    for row in record["rows"]:
        table.add_row(
            str(row["width"]), f"{row['foretell_tokens_per_second']:,.0f}", f"{row['eager_tokens_per_second']:,.0f}",
            f"{row['transformers_tokens_per_second']:,.0f}", f"{row['ratio']:.2f}", f"{row['eager_ratio']:.2f}",
            f"{row['peak_share']:.0%}",
        )  # fmt: skip
    out.print(table)
    return record


def _sft(arguments: argparse.Namespace) -> dict[str, Any]:
    from foretell.posttrain.bench import bench_sft

    record = bench_sft(arguments.model, Path(arguments.data) if arguments.data else None, arguments.steps)
    table = Table(title=f"{record['what']} (medians, interleaved)", title_justify="left", box=None)
    for column in ("", "trained", "tokens/s", "peak memory", "held-out loss"):
        table.add_column(column, justify="right")
    for name, row in record["rows"].items():
        memory, heldout = row.get("peak_memory_bytes"), row.get("heldout")
        table.add_row(
            name, f"{row['trained_parameters']:,}", f"{row['tokens_per_second']:,.0f}",
            f"{memory / 1e6:,.0f} MB" if memory else "-", f"{heldout['nats_per_token']:.4f}" if heldout else "-",
        )  # fmt: skip
    out.print(table)
    return record
