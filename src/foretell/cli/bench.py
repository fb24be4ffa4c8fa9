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
    """``foretell bench train``, ``serve``, ``sft``, ``vision``, ``eval`` and ``contamination``."""
    benches = {"train": _train, "serve": _serve, "sft": _sft, "vision": _vision, "eval": _eval,
               "contamination": _contamination}  # fmt: skip
    record = benches[arguments.what](arguments)
    if arguments.output:
        write_json(Path(arguments.output), record)
        say(f"written to {arguments.output}")
    else:
        say(json.dumps(record["environment"]))
    return 0


def _train(arguments: argparse.Namespace) -> dict[str, Any]:
    from foretell.train.bench import bench_train

    record = bench_train(arguments.widths, arguments.steps)
    table = _table("Training step, tokens/s (medians, interleaved)",
                   "width", "foretell", "eager", "transformers", "ratio", "eager ratio", "share of peak")  # fmt: skip
    for row in record["rows"]:
        table.add_row(
            str(row["width"]), f"{row['foretell_tokens_per_second']:,.0f}", f"{row['eager_tokens_per_second']:,.0f}",
            f"{row['transformers_tokens_per_second']:,.0f}", f"{row['ratio']:.2f}", f"{row['eager_ratio']:.2f}",
            f"{row['peak_share']:.0%}",
        )  # fmt: skip
    out.print(table)
    return record


def _serve(arguments: argparse.Namespace) -> dict[str, Any]:
    from foretell.infer.bench import bench_serve

    record = bench_serve(arguments.model, arguments.rounds, arguments.peers)
    rates, ratios = record["tokens_per_second"], record["ratio"]
    names = list(next(iter(rates.values())))
    table = _table("Tokens/s (medians, interleaved); in brackets how many times that foretell is",
                   "peer", *names, "same tokens")  # fmt: skip
    for peer, found in rates.items():
        cells = [f"{found[name]:,.0f} ({ratios[peer][name]:.2f})" for name in names]
        table.add_row(peer, *cells, f"{record['same_tokens'][peer]:.0%}")
    out.print(table)
    return record


def _sft(arguments: argparse.Namespace) -> dict[str, Any]:
    from foretell.posttrain.bench import bench_sft

    data = Path(arguments.data) if arguments.data else None
    record = bench_sft(arguments.model, data, arguments.steps, arguments.train_steps)
    table = _table(f"{record['what']} (medians, interleaved)",
                   "peer", "trained", "tokens/s", "peak memory", "held-out loss")  # fmt: skip
    for name, row in record["rows"].items():
        memory, heldout = row.get("peak_memory_bytes"), row.get("heldout")
        table.add_row(
            name, f"{row['trained_parameters']:,}", f"{row['tokens_per_second']:,.0f}",
            f"{memory / 1e6:,.0f} MB" if memory else "-", f"{heldout['nats_per_token']:.4f}" if heldout else "-",
        )  # fmt: skip
    out.print(table)
    return record


def _vision(arguments: argparse.Namespace) -> dict[str, Any]:
    from foretell.infer.bench_vision import PARTS, bench_vision

    record = bench_vision(arguments.shapes, arguments.rounds)
    table = _table("Two images and a question, ms (medians, interleaved); in brackets how many times that of foretell",
                   "shape", "peer", *PARTS)  # fmt: skip
    for row in record["rows"]:
        for peer, found in row["seconds"].items():
            ratios = {} if peer == "foretell" else row["ratio"]
            cells = [f"{1e3 * found[part]:,.1f}" + (f" ({ratios[part]:.2f})" if ratios else "") for part in PARTS]
            table.add_row(row["shape"], peer, *cells)
    out.print(table)
    return record


def _contamination(arguments: argparse.Namespace) -> dict[str, Any]:
    from foretell.evals.contamination.bench import bench_contamination

    record = bench_contamination(int(arguments.bytes), arguments.items or 10_000)
    table = _table("Contamination", "what", "seconds", "of that")
    table.add_row("indexing", f"{record['index_seconds']:,.1f}", f"{record['corpus_bytes'] / 1e6:,.0f} MB of text")
    for method, seconds in record["check_seconds"].items():
        missed, wrong = record["missed"][method], record["false_alarms"][method]
        table.add_row(f"checking, {method}", f"{seconds:,.1f}", f"{record['items']:,} items, {record['planted']:,} "
                      f"planted: {missed} missed; {wrong} others found")  # fmt: skip
    table.add_row("verifying checksums", f"{record['verify_seconds']:,.1f}", f"{record['index_bytes'] / 1e6:,.0f} MB")
    out.print(table)
    return record


def _eval(arguments: argparse.Namespace) -> dict[str, Any]:
    from foretell.evals.bench import bench_eval

    data = Path(arguments.data) if arguments.data else None
    record = bench_eval(arguments.model, data, arguments.items or 500, arguments.per_subject)
    table = _table("Log-likelihoods of options, seconds (interleaved in parts); in brackets how many times those of "
                   "foretell (median)", "task", *next(iter(record["rows"].values()))["seconds"], "apart")  # fmt: skip
    for name, row in record["rows"].items():
        cells = [f"{took:,.1f} ({row['ratio'][peer]:.2f})" for peer, took in row["seconds"].items()]
        table.add_row(name, *cells, f"{row['log_likelihoods_apart_at_most']:.4f}")
    out.print(table)
    return record


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=None)
    for column in columns:
        table.add_column(column, justify="right")
    return table
