"""By what a proof turns the faulty server's clock, and its faults: a few bytes of memory that both share."""

import mmap
import struct
from pathlib import Path

_SHAPE = struct.Struct("=dQQ")


class Dial:
    """`offset`: seconds that the server's wall clock is wrong by. `seed`: of its faults; 0 is none."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(_SHAPE.size))
        with path.open("r+b") as file:
            self._shared = mmap.mmap(file.fileno(), _SHAPE.size)

    def _get(self) -> tuple[float, int, int]:
        return _SHAPE.unpack_from(self._shared)

    @property
    def offset(self) -> float:
        return self._get()[0]

    @offset.setter
    def offset(self, seconds: float) -> None:
        struct.pack_into("=d", self._shared, 0, seconds)

    @property
    def seed(self) -> int:
        return self._get()[1]

    @seed.setter
    def seed(self, number: int) -> None:
        struct.pack_into("=Q", self._shared, 8, number)

    @property
    def fired(self) -> int:
        """Faults so far."""
        return self._get()[2]

    def fire(self) -> None:
        struct.pack_into("=Q", self._shared, 16, self.fired + 1)
