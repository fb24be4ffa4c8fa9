"""What whoever starts a server may set."""

from __future__ import annotations

from dataclasses import dataclass

from foretell.serve.hosts import is_loopback


@dataclass(frozen=True)
class ServeOptions:
    """Limits and keys.

    Attributes:
        host, port: to listen at; port 0 for any that is free.
        keys: of which one must be sent as ``Authorization: Bearer``; none, and everybody is answered.
        allowed_hosts: names, beside localhost and the machine's own, by which a server without keys may be asked.
        most_queued: requests that may wait beyond those that run.
        most_running: requests that run at once.
        body_bytes: of a request at most.
        timeout: seconds after which an answer ends as it is.
        grace: seconds that running requests have to finish once the server is asked to stop.
        log_prompts: whether the request log holds prompts and answers.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    keys: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    most_queued: int = 256
    most_running: int = 32
    body_bytes: int = 2 * 2**20
    timeout: float = 600.0
    grace: float = 30.0
    log_prompts: bool = False

    @property
    def loopback(self) -> bool:
        """Whether only this machine is answered."""
        return is_loopback(self.host)
