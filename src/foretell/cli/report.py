"""``foretell report``."""

from __future__ import annotations

import argparse
from pathlib import Path

from foretell.recipes.workspace import open_run


def report(arguments: argparse.Namespace) -> int:
    """Write the page again and print its path, alone on its line."""
    folder = Path(arguments.run)
    open_run(folder)
    from foretell.report.page import write_report

    print(write_report(folder))
    return 0
