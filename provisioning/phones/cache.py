"""Rendered documents, each under the phone's revision, bounded in bytes.

Never trusted alone: every fetch reads the phone's revision from the database and takes a cached
document only if it is of exactly that revision (docs/ARCHITECTURE.md, "never stale").
"""

from collections import OrderedDict
from dataclasses import dataclass

_OVERHEAD = 700
"Bytes of an entry beside its body: head, ETag, addresses and key (measured)."


@dataclass(frozen=True, slots=True)
class Rendered:
    revision: int
    head: bytes
    body: bytes
    etag: str
    addresses: str
    "The addresses of record that the body holds."
    cipher: str | None = None
    "With which a phone that has the key gets it: of domain.catalogue.CIPHERS or CONTENT_CODINGS."
    keyed_by: bytes | None = None
    "The hash of the secret of which the key in the body is made."

    @property
    def cost(self) -> int:
        return len(self.body) + _OVERHEAD


class Cache:
    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._entries: OrderedDict[tuple[int, str], Rendered] = OrderedDict()
        self.bytes = 0

    def get(self, phone_id: int, shape: str, revision: int) -> Rendered | None:
        key = (phone_id, shape)
        entry = self._entries.get(key)
        if entry is None or entry.revision != revision:
            return None
        self._entries.move_to_end(key)
        return entry

    def put(self, phone_id: int, shape: str, entry: Rendered) -> None:
        key = (phone_id, shape)
        if (old := self._entries.pop(key, None)) is not None:
            self.bytes -= old.cost
        self._entries[key] = entry
        self.bytes += entry.cost
        while self.bytes > self._limit:
            _, dropped = self._entries.popitem(last=False)
            self.bytes -= dropped.cost
