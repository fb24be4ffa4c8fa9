"""``foretell references``."""

from __future__ import annotations

import argparse
from pathlib import Path

from foretell.cli.output import out


def references(arguments: argparse.Namespace) -> int:
    """``foretell references``."""
    from foretell.recipes.references import make_references  # torch: two seconds that mistakes need not wait for

    law = make_references([Path(run) for run in arguments.runs], Path(arguments.output))
    out.print(f"{len(law.references)} references of one recipe in {arguments.output}; "
              "a run of that recipe takes them with --forecast.references")  # fmt: skip
    return 0
