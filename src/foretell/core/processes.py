"""Helper processes that never outlive their parent."""

from __future__ import annotations

import os
import threading
import time

POLL_SECONDS = 0.5


def leave_with_parent(parent: int) -> None:
    """Watch the process that started this one, from a thread, and leave at once when it is gone (SIGKILL included).

    Args:
        parent: its process id, taken in the parent before the start.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(POLL_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
