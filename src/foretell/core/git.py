"""Which commit files are at, where they are under version control."""

from __future__ import annotations

import subprocess
from pathlib import Path


def git_commit(folder: Path, tracked: str | None = None) -> str | None:
    """The commit that ``folder`` is checked out at, with ``+dirty`` where files differ; ``None`` outside git.

    Args:
        tracked: a file of ``folder`` that must be under version control; an installed copy inside somebody else's
            repository is not at that repository's commit.
    """
    try:
        if tracked is not None:
            _git(folder, "ls-files", "--error-unmatch", tracked)
        commit, status = _git(folder, "rev-parse", "HEAD"), _git(folder, "status", "--porcelain")
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + ("+dirty" if status else "")


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
