"""``foretell bench``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from rich.table import Table

from foretell.cli.output import out
from foretell.core.files import write_json
from foretell.core.progress import say


def bench(arguments: argparse.Namespace) -> int:
    """``foretell bench train``."""
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
    if arguments.output:
        write_json(Path(arguments.output), record)
        say(f"written to {arguments.output}")
    else:
        say(json.dumps(record["environment"]))
    return 0
