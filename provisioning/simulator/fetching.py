"""The HTTP side of a phone: one request, and what can go wrong with it in words that can be counted."""

import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import aiohttp

from provisioning.simulator.dialects.base import Ask

# No phone has room for more.
_MOST_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Fetch:
    """One request that a phone did."""

    at: float
    "By the wall clock."
    name: str
    "The last part of the path: secrets stand before it."
    status: int | None
    "None: no answer, see `problem`."
    size: int
    seconds: float
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Got:
    fetch: Fetch
    etag: str | None = None
    body: bytes = field(default=b"", repr=False)
    coding: str = ""


def session(address: str, tls: ssl.SSLContext | None, seconds: float) -> aiohttp.ClientSession:
    """From the phone's own address; a new one for every fetch, as phones do not keep connections."""
    connector = aiohttp.TCPConnector(local_addr=(address, 0), ssl=True if tls is None else tls)
    return aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=seconds),
        cookie_jar=aiohttp.DummyCookieJar(),
        # What a phone does not send is not sent, such as Accept-Encoding.
        skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent"),
    )


async def ask(
    http: aiohttp.ClientSession,
    ask: Ask,
    headers: Mapping[str, str],
    *,
    follow: bool,
    give_up_in_body: bool = False,
) -> Got:
    at, began = time.time(), time.perf_counter()
    name = ask.url.partition("?")[0].rpartition("/")[2] or "/"
    status, etag, body, coding, problem = None, None, b"", "", ""
    try:
        async with http.request(
            ask.method, ask.url, headers=headers, data=ask.body or None, allow_redirects=follow
        ) as answer:
            etag, coding = answer.headers.get("ETag"), answer.headers.get("Content-Encoding", "")
            if give_up_in_body and answer.status == 200:
                body = await answer.content.read(16)
                answer.close()
                problem = "given up in the middle of the body"
            else:
                body = await answer.content.read(_MOST_BYTES)
                while len(body) < _MOST_BYTES and (more := await answer.content.read(_MOST_BYTES)):
                    body += more
                if len(body) >= _MOST_BYTES:
                    problem = "body too large"
                status = answer.status
    except TimeoutError:
        problem = "timed out"
    except aiohttp.ClientConnectorCertificateError:
        problem = "certificate refused"
    except aiohttp.ClientConnectorSSLError:
        problem = "TLS failed"
    except aiohttp.ClientConnectorError:
        problem = "no connection"
    except aiohttp.InvalidURL:
        problem = "unusable URL"
    except (aiohttp.ClientError, OSError):
        problem = "connection broken"
    if problem:
        status = None
    fetch = Fetch(at, name, status, len(body), time.perf_counter() - began, problem)
    return Got(fetch, etag, body if not problem else b"", coding)
