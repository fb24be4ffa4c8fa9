"""What whoever starts a server may set."""

from __future__ import annotations

from dataclasses import dataclass

from foretell.serve.hosts import is_loopback

TEXT_BODY, IMAGE_BODY = 2 * 2**20, 32 * 2**20  # bytes


@dataclass(frozen=True)
class ServeOptions:
    """Limits and keys.

    Attributes:
        host, port: to listen at; port 0 for any that is free.
        keys: of which one must be sent as ``Authorization: Bearer``; none, and everybody is answered.
        allowed_hosts: names, beside localhost and the machine's own, by which a server without keys may be asked.
        most_queued: requests that may wait beyond those that run.
        most_running: requests that run at once.
        body_bytes: of a request at most; :data:`TEXT_BODY`, or :data:`IMAGE_BODY` for a model that reads images, where
            it is ``None``.
        timeout: seconds after which an answer ends as it is.
        grace: seconds that running requests have to finish once the server is asked to stop.
        log_prompts: whether the request log holds prompts and answers.
        image_urls: whether images are fetched from addresses of http and https.
        most_images: of a request.
        image_bytes: of an image's file.
        image_seconds: in which all images of a request must have been fetched.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    keys: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    most_queued: int = 256
    most_running: int = 32
    body_bytes: int | None = None
    timeout: float = 600.0
    grace: float = 30.0
    log_prompts: bool = False
    image_urls: bool = False
    most_images: int = 16
    image_bytes: int = 10 * 2**20
    image_seconds: float = 10.0

    @property
    def loopback(self) -> bool:
        """Whether only this machine is answered."""
        return is_loopback(self.host)
