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
    from foretell.recipes.references import kept_as, make_references, read_references  # torch: two seconds

    runs = [Path(run) for run in arguments.runs]
    output = Path(arguments.output) if arguments.output else None
    if output is not None and (output.is_dir() or output.suffix != ".json"):
        raise UserError(f"--output is {output}; a .json file is expected.")  # kept/*, say: a run would be written over
    files = kept_as(runs, Path(arguments.keep)) if arguments.keep else {}  # before minutes are spent on reading
    read = read_references(runs)
    for path, file in files.items():
        read[path].save(file)
        out.print(f"{file}: {len(read[path].nats):,} tokens, {file.stat().st_size / 1e6:.2f} MB")
    if output is not None:
        law = make_references(read.values(), output)
        out.print(f"{len(law.references)} references of one recipe in {output}; "
                  "a run of that recipe takes them with --forecast.references")  # fmt: skip
    return 0
