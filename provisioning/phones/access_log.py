"""One line for each request of a phone, written in batches, the phone's secret never in it.

<time> <address> <method> <path, the secret shown as -> <status> <bytes> <milliseconds> <proof>
"""

import asyncio
import os
import time
from pathlib import Path

FLUSH_SECONDS = 0.2


class AccessLog:
    def __init__(self, where: str) -> None:
        """`where`: a file, `-` for standard output, or `off`."""
        self.enabled = where != "off"
        self._fd = -1
        if where == "-":
            self._fd = os.dup(1)
        elif self.enabled:
            self._fd = os.open(Path(where), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
        self._lines: list[str] = []
        self._second = 0
        self._stamp = ""

    def write(self, address: str, method: str, path: str, status: int, length: int, seconds: float, proof: str) -> None:
        now = int(time.time())
        if now != self._second:
            self._second = now
            self._stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))
        lines = self._lines
        if not lines:
            asyncio.get_running_loop().call_later(FLUSH_SECONDS, self.flush)
        lines.append(f"{self._stamp} {address} {method} {path} {status} {length} {seconds * 1000:.1f} {proof}\n")

    def flush(self) -> None:
        lines, self._lines = self._lines, []
        if lines:
            data = "".join(lines).encode()
            try:
                # One write a batch: lines of several workers do not mix in a file opened to append.
                os.write(self._fd, data)
            except OSError:
                # A full disk or a closed pipe must not keep a phone from its configuration.
                return

    def close(self) -> None:
        self.flush()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
