"""What verbs print on standard output: as it is, never as markup, and wrapped on a terminal only."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from rich.console import Console

from foretell.laws.records import Finding

out = Console(highlight=False, markup=False, emoji=False, soft_wrap=not sys.stdout.isatty())


def print_findings(findings: Iterable[Finding]) -> None:
    """One line for each."""
    for finding in findings:
        out.print(f"{finding.severity}: {finding.sentence}")
