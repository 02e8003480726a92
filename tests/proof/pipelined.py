"""Many raw requests over a few connections, each answer as its bytes were."""

import asyncio
import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

AT_ONCE = 64
"Requests on their way on one connection."
PATIENCE = 10.0
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_STATUS = re.compile(rb"HTTP/\d\.\d (\d{3}) ")


@dataclass(frozen=True, slots=True)
class Heard:
    status: int
    "0: the connection ended without a word; -1: what came is no HTTP; -2: nothing came in time."
    head: bytes
    body: bytes

    def __getitem__(self, name: str) -> str:
        match = re.search(rb"\r\n" + name.encode() + rb": *([^\r]*)", self.head, re.IGNORECASE)
        return match[1].decode("latin-1") if match else ""


SILENT, NO_HTTP, LATE = Heard(0, b"", b""), Heard(-1, b"", b""), Heard(-2, b"", b"")


async def ask(
    host: str, port: int, requests: Sequence[bytes], *, heads: Sequence[bool] = (), at_once: int = AT_ONCE
) -> list[Heard]:
    """An answer for each request, in their order. Where the server closes, the rest goes on over a new connection.

    `heads`: which of them are HEAD, whose answers have no body. A request that is no HTTP must go
    alone (`at_once=1`): the server drops with it what it had read ahead.
    """
    answers: list[Heard] = []
    while len(answers) < len(requests):
        start = len(answers)
        batch = requests[start : start + at_once]
        reader, writer = await asyncio.open_connection(host, port)
        try:
            with contextlib.suppress(ConnectionError):
                writer.write(b"".join(batch))
                await writer.drain()
            for number in range(start, start + len(batch)):
                heard = await listen(reader, bodiless=bool(heads) and heads[number])
                if heard is SILENT and number > start:
                    # Of a connection that was closed before: this one was not heard, and asks again.
                    break
                answers.append(heard)
                if heard.status <= 0 or b"\r\nConnection: close" in heard.head or heard.head.startswith(b"HTTP/1.0"):
                    break
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError, OSError):
                await writer.wait_closed()
    return answers


async def listen(reader: asyncio.StreamReader, *, bodiless: bool = False, patience: float = PATIENCE) -> Heard:
    """One answer."""
    try:
        async with asyncio.timeout(patience):
            head = await reader.readuntil(b"\r\n\r\n")
            match = _STATUS.match(head)
            if match is None:
                return NO_HTTP
            status = int(match[1])
            length = _LENGTH.search(head)
            body = b""
            if not bodiless and status != 304 and status >= 200 and length is not None:
                body = await reader.readexactly(int(length[1]))
    except asyncio.IncompleteReadError as error:
        return NO_HTTP if error.partial else SILENT
    except (ConnectionError, OSError):
        return SILENT
    except TimeoutError:
        return LATE
    except asyncio.LimitOverrunError:
        return NO_HTTP
    return Heard(status, head, body)
