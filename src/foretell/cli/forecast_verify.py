"""``foretell forecast verify FILE``: is the seal whole, what does it foretell, and what came of it."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from foretell.cli.output import out, print_findings
from foretell.core.errors import UserError
from foretell.laws.records import Forecast
from foretell.laws.registered_source import NEAR, SourceCheck, TableOutcome, check_source
from foretell.laws.registry import load_registered, registered_forecast, score


def verify(path: Path, arguments: argparse.Namespace) -> int:
    """Say whether a registered forecast is as it was sealed; with an outcome, score it.

    Raises:
        UserError: where it has been changed, or the outcome cannot be read.
    """
    if arguments.outcome is not None and arguments.table is not None:
        raise UserError("--outcome and --table both say what the target reached; give one of them.")
    registered = load_registered(path)
    made = registered_forecast(registered)
    check, found = (None, None) if arguments.table is None else check_source(registered, Path(arguments.table))
    scored = None
    if arguments.outcome is not None:
        scored = score(registered, arguments.outcome, {"from": "the command line"})
    elif found is not None and check is not None:
        scored = score(registered, found.value, {"from": check.path, "sha256": check.sha256} | asdict(found))
    if arguments.json:
        print(json.dumps(_record(registered, made, check, scored), allow_nan=False))
    else:
        _show(registered, made, check, found, scored)
    return 0


def _record(
    registered: dict[str, Any], made: Forecast, check: SourceCheck | None, scored: dict[str, Any] | None
) -> dict[str, Any]:
    context = registered["context"]
    return {
        "verified": True, "sha256": registered["sha256"], "created": registered["created"], "metric": made.metric,
        "flops": made.target_flops, "value": made.median, "low": made.low, "high": made.high, "level": made.level,
        "refused": made.refused, "sentence": made.sentence, "command": context.get("command"),
        "git_commit": context.get("git_commit"), "table": None if check is None else asdict(check), "score": scored,
    }  # fmt: skip


def _show(
    registered: dict[str, Any],
    made: Forecast,
    check: SourceCheck | None,
    found: TableOutcome | None,
    scored: dict[str, Any] | None,
) -> None:
    context = registered["context"]
    out.print(f"Unchanged since it was registered at {registered['created']}: {registered['sha256']}.")
    out.print(made.sentence)
    print_findings(made.findings)
    if context.get("command"):
        commit = context.get("git_commit")
        out.print(f"Made by: {context['command']}{f' (git {commit})' if commit else ''}")
    if check is not None:
        out.print(check.sentence)
        if found is None:
            flops = made.target_flops
            out.print(f"No outcome yet: no run from {flops:.3g} to {NEAR * flops:.3g} FLOPs is in {check.path}.")
        else:
            names = ", ".join(found.names) or f"row{'s' * (len(found.rows) > 1)} {', '.join(map(str, found.rows))}"
            out.print(f"The outcome is that of {names}, with {found.flops:.4g} FLOPs.")
    if scored is not None:
        out.print(scored["sentence"])
