"""``foretell references``."""

from __future__ import annotations

import argparse
from pathlib import Path

from foretell.cli.output import out
from foretell.core.errors import UserError


def references(arguments: argparse.Namespace) -> int:
    """``foretell references``."""
    if not arguments.output and not arguments.keep:
        raise UserError("Either --output FILE, to learn from the runs, or --keep DIR is expected.")
    from foretell.recipes.references import keep_references, make_references, read_references  # torch: two seconds

    read = read_references([Path(run) for run in arguments.runs])
    if arguments.keep:
        keep_references(read, Path(arguments.keep))
    if arguments.output:
        law = make_references(read.values(), Path(arguments.output))
        out.print(f"{len(law.references)} references of one recipe in {arguments.output}; "
                  "a run of that recipe takes them with --forecast.references")  # fmt: skip
    return 0
