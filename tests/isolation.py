"""What needs a sandbox in tests: skipped where the machine isolates nobody, and a failure where only ours does not."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from typing import TypeVar

import pytest

from foretell.core.errors import UserError

Made = TypeVar("Made")
OTHERS = {  # programs that isolate as the sandbox does, by the means that it is to use
    "namespaces": ("unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "true"),
    "bubblewrap": ("bwrap", "--unshare-all", "--ro-bind", "/", "/", "true"),
}


def isolated(make: Callable[[], Made], means: str | None = None) -> Made:
    """What ``make`` gives; where it is refused, the test is skipped unless another program can isolate here."""
    try:
        return make()
    except UserError as error:
        for name in [means] if means else OTHERS:
            command = OTHERS[name]
            if shutil.which(command[0]) and not subprocess.run(command, check=False, capture_output=True).returncode:
                raise
        pytest.skip(str(error))
