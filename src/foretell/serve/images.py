"""Images in messages: found, read from the message or fetched, decoded, and made to fit."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from foretell.core.errors import UserError
from foretell.data.dataurls import is_data_url, read_data_url
from foretell.data.image_decoding import ImageLimits, decode
from foretell.infer.images import ImageReader, PreparedImage
from foretell.serve.errors import APIError, bad_request
from foretell.serve.fetching import fetch
from foretell.serve.options import ServeOptions

IMAGE_PART = "image_url"
INVALID = "invalid_image"
FETCHING_THREADS = 8
DECODED_AT_ONCE = 2  # a picture within the limits may take a few hundred megabytes for a moment
SHOWN = 40  # characters of an address in the log


@dataclass(frozen=True)
class ImageSource:
    """An image that a message names.

    Attributes:
        param: the field of the body.
        url: with the content in it, or to fetch it from.
    """

    param: str
    url: str


def image_sources(messages: Sequence[Any], most: int) -> list[ImageSource]:
    """The images of messages, in order.

    Raises:
        APIError: for a part that names no image, or more than ``most`` of them.
    """
    found = []
    for number, message in enumerate(messages):
        content = message.get("content") if isinstance(message, dict) else None
        for index, part in enumerate(content if isinstance(content, list) else ()):
            if isinstance(part, dict) and part.get("type") == IMAGE_PART:
                found.append(_source(f"messages[{number}].content[{index}].{IMAGE_PART}", part.get(IMAGE_PART)))
    if len(found) > most:
        raise bad_request(f"messages has {len(found)} images; at most {most} are accepted.", "messages",
                          "too_many_images")  # fmt: skip
    return found


def _source(param: str, given: Any) -> ImageSource:
    url = given.get("url") if isinstance(given, dict) else given
    if not isinstance(url, str) or not url:
        raise bad_request(f"{param}.url is {'missing' if url is None else repr(url)[:SHOWN]}; a data URL of an image, "
                          "or an address of http or https, is expected.", param, INVALID)  # fmt: skip
    return ImageSource(param, url)


def without_images(messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Messages with the beginning of an image's address, which is none of its content, in place of the whole."""
    return [
        {**message, "content": [_logged(part) for part in message["content"]]}
        if isinstance(message.get("content"), list)
        else message
        for message in messages
    ]


def _logged(part: Any) -> Any:
    if not isinstance(part, dict) or part.get("type") != IMAGE_PART:
        return part
    given = part.get(IMAGE_PART)
    url = str(given.get("url") if isinstance(given, dict) else given)
    begins = url.partition(",")[0] if is_data_url(url) else url
    return {"type": IMAGE_PART, IMAGE_PART: {"url": begins[:SHOWN] + ("..." if len(url) > SHOWN else "")}}


class ImageIntake:
    """How a service comes to the images of its requests.

    Args:
        reader: of the model.
        options: with the limits.
    """

    def __init__(self, reader: ImageReader, options: ServeOptions) -> None:
        self.reader, self._options = reader, options
        self._limits = replace(ImageLimits(), bytes=options.image_bytes)
        self._decoding = threading.Semaphore(DECODED_AT_ONCE)
        # of their own, for a server that answers slowly must not keep those who wait for other things
        self._fetchers = ThreadPoolExecutor(FETCHING_THREADS, "images") if options.image_urls else None

    async def read(self, messages: Sequence[Any]) -> tuple[PreparedImage, ...]:
        """The images of messages.

        Raises:
            APIError: 400 for whatever is no image, beyond the limits, or not to be fetched here.
        """
        sources = await asyncio.to_thread(image_sources, messages, self._options.most_images)
        if not sources:
            return ()
        for source in sources:
            self._check(source)
        fetched = await self._fetched([source for source in sources if not is_data_url(source.url)])
        return await asyncio.to_thread(lambda: tuple(self._prepared(source, fetched) for source in sources))

    def close(self) -> None:
        """Fetch nothing more."""
        if self._fetchers is not None:
            self._fetchers.shutdown(wait=False, cancel_futures=True)

    def _check(self, source: ImageSource) -> None:
        if self._fetchers is None and not is_data_url(source.url):
            raise bad_request(f"{source.param} is {source.url[:SHOWN]!r}; this server fetches no images "
                              "(--image-urls lets it), a data URL with the content is accepted.", source.param,
                              "unsupported")  # fmt: skip

    async def _fetched(self, sources: Sequence[ImageSource]) -> dict[ImageSource, bytes]:
        seconds, loop = self._options.image_seconds, asyncio.get_running_loop()

        def one(source: ImageSource) -> asyncio.Future[bytes]:
            return loop.run_in_executor(
                self._fetchers, fetch, source.url, self._limits.bytes, seconds, source.param
            )  # fmt: skip

        tasks = {source: one(source) for source in sources}
        try:
            async with asyncio.timeout(seconds + 1):  # looking up a name has no end of its own
                return {source: await task for source, task in tasks.items()}
        except UserError as error:
            raise _invalid(error) from error
        except TimeoutError as error:
            source = next(source for source, task in tasks.items() if not task.done() or task.cancelled())
            raise bad_request(f"{source.param} did not come within {seconds:g} seconds.", source.param,
                              INVALID) from error  # fmt: skip
        finally:
            for task in tasks.values():
                task.cancel()

    def _prepared(self, source: ImageSource, fetched: dict[ImageSource, bytes]) -> PreparedImage:
        try:
            data = fetched.get(source)
            if data is None:
                data = read_data_url(source.url, self._limits.bytes, source.param)[1]
            with self._decoding:
                return self.reader.prepared(decode(data, self._limits, source.param))
        except UserError as error:
            raise _invalid(error) from error


def _invalid(error: UserError) -> APIError:
    """Sentences about images begin with the field."""
    return bad_request(str(error), str(error).partition(" ")[0], INVALID)
