"""SIP messages as values: bytes in, bytes out, no I/O (RFC 3261 §7, §18.3, §20, §25).

What cannot be understood raises `ValueError`, and nothing else does.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

TOKEN = r"[A-Za-z0-9\-.!%*_+`'~]++"  # noqa: S105 - the word of RFC 3261 §25.1, no secret
MAX_MESSAGE = 65_507  # what one UDP datagram over IPv4 can carry; no honest peer sends more over TCP

Header = tuple[str, str]

_COMPACT = {
    "a": "Accept-Contact",  # RFC 3841
    "b": "Referred-By",  # RFC 3892
    "c": "Content-Type",  # RFC 3261 §7.3.3, as are those without a number below
    "d": "Request-Disposition",  # RFC 3841
    "e": "Content-Encoding",
    "f": "From",
    "i": "Call-ID",
    "j": "Reject-Contact",  # RFC 3841
    "k": "Supported",
    "l": "Content-Length",
    "m": "Contact",
    "n": "Identity-Info",  # RFC 4474
    "o": "Event",  # RFC 6665
    "r": "Refer-To",  # RFC 3515
    "s": "Subject",
    "t": "To",
    "u": "Allow-Events",  # RFC 6665
    "v": "Via",
    "x": "Session-Expires",  # RFC 4028
    "y": "Identity",  # RFC 8224
}

_HEAD_END = re.compile(rb"\r?\n\r?\n")
_LINE_END = re.compile(r"\r?\n")
_FOLD = re.compile(r"\r?\n[ \t]++")  # RFC 3261 §7.3.1: equals one space
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_REQUEST_LINE = re.compile(rf"({TOKEN}) (\S+) SIP/2\.0", re.IGNORECASE | re.ASCII)
_STATUS_LINE = re.compile(r"SIP/2\.0 ([1-6][0-9][0-9])(?: (.*))?", re.IGNORECASE | re.ASCII)
_HEADER = re.compile(rf"({TOKEN})[ \t]*:[ \t]*(.*)")
_CSEQ = re.compile(rf"([0-9]{{1,10}})[ \t]+({TOKEN})")
_BRANCH = re.compile(r';\s*branch\s*=\s*([^\s;,"]+)', re.IGNORECASE)
_LIST_ITEM = re.compile(r'(?:[^,"<]|"(?:[^"\\]|\\.)*+"|<[^>]*+>)*+', re.DOTALL)


class _Message:
    __slots__ = ()

    headers: tuple[Header, ...]
    """In the order of the wire, compact names written out. Content-Length is never among them:
    the body is the truth, and `serialise` counts it."""
    body: bytes

    def get(self, name: str) -> str | None:
        return next(iter(self.all(name)), None)

    def all(self, name: str) -> list[str]:
        """One item a header line; for headers whose commas do not separate values, such as WWW-Authenticate."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def values(self, name: str) -> list[str]:
        """One item a value, wherever the peer broke or joined the lines (RFC 3261 §7.3.1)."""
        return [value for line in self.all(name) for value in split_list(line)]

    @property
    def branch(self) -> str:
        """Of the top Via."""
        top, *_ = split_list(self.get("Via") or "") or [""]
        found = _BRANCH.search(top)
        if not found:
            raise ValueError("the top Via has no branch")
        return found[1]

    @property
    def cseq(self) -> tuple[int, str]:
        found = _CSEQ.fullmatch(self.get("CSeq") or "")
        if not found:
            raise ValueError("CSeq is not a number and a method")
        return int(found[1]), found[2]

    def _serialise(self, start_line: str) -> bytes:
        lines = [f"{name}: {value}" for name, value in self.headers if name.lower() != "content-length"]
        lines.append(f"Content-Length: {len(self.body)}")
        for line in lines:
            check_header(line)
        return "\r\n".join([start_line, *lines, "", ""]).encode() + self.body


@dataclass(frozen=True, slots=True)
class Request(_Message):
    method: str
    uri: str
    headers: tuple[Header, ...] = ()
    body: bytes = b""

    def serialise(self) -> bytes:
        start_line = f"{self.method} {self.uri} SIP/2.0"
        if not _REQUEST_LINE.fullmatch(start_line) or _CONTROL.search(start_line):
            raise ValueError(f"not a request line: {start_line[:80]!r}")
        return self._serialise(start_line)

    def response(
        self,
        status: int,
        reason: str = "",
        *,
        to_tag: str = "",
        headers: Iterable[Header] = (),
        body: bytes = b"",
    ) -> "Response":
        """RFC 3261 §8.2.6.2: the headers that lead the response back are copied, `to_tag` is added when
        To has none yet."""
        copied = [("Via", via) for via in self.all("Via")]
        for name in ("From", "To", "Call-ID", "CSeq"):
            value = self.get(name)
            if value is None:
                raise ValueError(f"a request without {name} cannot be answered")
            if name == "To" and to_tag and not re.search(r";\s*tag\s*=", value.rpartition(">")[2], re.IGNORECASE):
                value = f"{value};tag={to_tag}"
            copied.append((name, value))
        return Response(status, reason, (*copied, *headers), body)


@dataclass(frozen=True, slots=True)
class Response(_Message):
    status: int
    reason: str = ""
    headers: tuple[Header, ...] = ()
    body: bytes = b""

    def serialise(self) -> bytes:
        start_line = f"SIP/2.0 {self.status} {self.reason}"
        if not _STATUS_LINE.fullmatch(start_line) or _CONTROL.search(start_line):
            raise ValueError(f"not a status line: {start_line[:80]!r}")
        return self._serialise(start_line)


def parse(data: bytes) -> Request | Response:
    """A datagram, or one message that `frame` cut from a stream."""
    data = data.lstrip(b"\r\n")  # RFC 3261 §7.5: CRLF before the start line are to be ignored
    end = _HEAD_END.search(data)
    if not end:
        raise ValueError("no empty line after the headers")
    start_line, headers = _head(data[: end.start()])
    body = data[end.end() :]
    length = _content_length(headers)
    if length is not None:
        if len(body) < length:
            raise ValueError(f"{len(body)} bytes of body where Content-Length says {length}")
        body = body[:length]  # RFC 3261 §18.3: what follows in the datagram is discarded
    kept = tuple(header for header in headers if header[0].lower() != "content-length")
    if status := _STATUS_LINE.fullmatch(start_line):
        return Response(int(status[1]), status[2] or "", kept, body)
    if request := _REQUEST_LINE.fullmatch(start_line):
        return Request(request[1], request[2], kept, body)
    raise ValueError("neither a request nor a response of SIP/2.0")


def frame(buffer: bytearray) -> bytes | None:
    """Take the first whole message out of what a stream has brought so far; None when more must come.

    After a `ValueError` nobody can tell where the next message starts: close the connection.
    """
    del buffer[: len(buffer) - len(buffer.lstrip(b"\r\n"))]  # the keep-alives of RFC 5626 §3.5.1
    end = _HEAD_END.search(buffer)
    if not end:
        if len(buffer) > MAX_MESSAGE:
            raise ValueError(f"headers of more than {MAX_MESSAGE} bytes")
        return None
    _, headers = _head(bytes(buffer[: end.start()]))
    length = _content_length(headers)
    if length is None:
        raise ValueError("no Content-Length, which a stream requires")  # RFC 3261 §18.3
    size = end.end() + length
    if size > MAX_MESSAGE:
        raise ValueError(f"a message of {size} bytes, {MAX_MESSAGE} are allowed")
    if len(buffer) < size:
        return None
    message = bytes(buffer[:size])
    del buffer[:size]
    return message


def split_list(line: str) -> list[str]:
    """Split at the commas outside of quoted strings and angle brackets; an empty item is dropped."""
    items, at = [], 0
    while True:
        item = _LIST_ITEM.match(line, at)
        end = item.end() if item else at
        items.append(line[at:end].strip(" \t"))
        if end == len(line):
            return [item for item in items if item]
        if line[end] != ",":
            raise ValueError("a quoted string or an angle bracket does not end")
        at = end + 1


def _head(head: bytes) -> tuple[str, list[Header]]:
    # Latin-1 from an old phone must not cost us its answer: undecodable bytes become U+FFFD.
    text = head.decode("utf-8", errors="replace")
    start_line, *lines = _LINE_END.split(_FOLD.sub(" ", text))
    headers = []
    for line in lines:
        header = check_header(line)
        headers.append((_COMPACT.get(header[1].lower(), header[1]), header[2].rstrip(" \t")))
    if _CONTROL.search(start_line):
        raise ValueError("a control character in the start line")
    return start_line, headers


def check_header(line: str) -> re.Match[str]:
    """What we would not accept we do not send either: a value cannot add a header or a second message."""
    header = _HEADER.fullmatch(line)
    if not header or _CONTROL.search(line):
        name = line.partition(":")[0]  # the value may be a secret
        raise ValueError(f"not a header, or a control character in it: {name[:80]!r}")
    return header


def _content_length(headers: Iterable[Header]) -> int | None:
    values = {value for name, value in headers if name.lower() == "content-length"}
    if not values:
        return None
    value = values.pop()
    # Two lengths are how a message is smuggled inside another.
    if values or not re.fullmatch(r"[0-9]{1,10}", value):
        raise ValueError("Content-Length is not one number")
    return int(value)
