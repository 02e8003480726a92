"""The PROXY protocol, versions 1 and 2, from trusted proxies (HAProxy's proxy-protocol.txt).

It stands before TLS and says whose connection this really is. Read only from configured
networks; a connection of theirs that begins otherwise is plain HTTP or TLS.
"""

import asyncio
import socket
import struct

from provisioning.domain import address as addresses
from provisioning.domain.address import Address

_V1 = b"PROXY "
_V2 = b"\r\n\r\n\x00\r\nQUIT\n"
_V1_LONGEST = 107
_FAMILIES = {0x1: (4, socket.AF_INET), 0x2: (16, socket.AF_INET6)}
_LOCAL = 0x20
_PAUSE = 0.005


async def read(connection: socket.socket) -> tuple[bool, Address | None]:
    """Takes the header off the socket: (there is one, whose it says the connection is).

    It may say nobody (LOCAL, UNKNOWN).

    ValueError: it begins like one and is none. ConnectionError: the peer went away.
    """
    while True:
        seen = await _peek(connection)
        if _begins(seen, _V2):
            if len(seen) >= 16:
                return True, await _version2(connection, seen)
        elif _begins(seen, _V1):
            if (end := seen.find(b"\r\n", 0, _V1_LONGEST)) >= 0:
                connection.recv(end + 2)
                return True, version1(seen[:end])
            if len(seen) >= _V1_LONGEST:
                raise ValueError("a PROXY line without an end")
        else:
            return False, None
        # The header came in pieces; the socket stays readable, so waiting on it would spin.
        await asyncio.sleep(_PAUSE)


def version1(line: bytes) -> Address | None:
    """`PROXY TCP4 <source> <destination> <source port> <destination port>`."""
    words = line.decode("ascii", "replace").split(" ")
    if words[1:2] == ["UNKNOWN"]:
        return None
    if len(words) != 6 or words[1] not in ("TCP4", "TCP6"):
        raise ValueError("no PROXY line")
    return addresses.parse(words[2])


def version2(header: bytes) -> Address | None:
    """16 bytes, then what their length field counts."""
    command, family = header[12], header[13] >> 4
    if command == _LOCAL or family not in _FAMILIES:
        return None
    if command != _LOCAL | 1:
        raise ValueError("no PROXY header of version 2")
    size, kind = _FAMILIES[family]
    source = header[16 : 16 + size]
    # Two addresses and two ports.
    if len(header) < 16 + 2 * size + 4:
        raise ValueError("a PROXY header that is too short for its addresses")
    return addresses.parse(socket.inet_ntop(kind, source))


async def _version2(connection: socket.socket, seen: bytes) -> Address | None:
    (length,) = struct.unpack("!H", seen[14:16])
    header = b""
    while len(header) < 16 + length:
        await _peek(connection)
        header += connection.recv(16 + length - len(header))
    return version2(header)


def _begins(seen: bytes, signature: bytes) -> bool:
    return seen[: len(signature)] == signature[: len(seen)]


async def _peek(connection: socket.socket) -> bytes:
    loop = asyncio.get_running_loop()
    while True:
        try:
            seen = connection.recv(536, socket.MSG_PEEK)
        except BlockingIOError:
            ready = loop.create_future()
            loop.add_reader(connection.fileno(), _set, ready)
            try:
                await ready
            finally:
                loop.remove_reader(connection.fileno())
            continue
        if not seen:
            raise ConnectionResetError
        return seen


def _set(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
