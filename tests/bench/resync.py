"""From the POST of an attach to the NOTIFY that leaves for the phone."""

import json
import select
import socket
import time
from dataclasses import dataclass, field

import data

_PATIENCE = 5.0


@dataclass
class Told:
    notified: list[float] = field(default_factory=list)
    answered: list[float] = field(default_factory=list)
    errors: int = 0


class Proxy:
    """The operator's SIP proxy: takes every NOTIFY and answers 200."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_000_000)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.setblocking(False)

    @property
    def setting(self) -> str:
        return f"udp:127.0.0.1:{self.socket.getsockname()[1]}"

    def take(self) -> list[str]:
        """The users of all NOTIFY that have arrived."""
        users = []
        while True:
            try:
                packet, sender = self.socket.recvfrom(65536)
            except BlockingIOError:
                return users
            first, *headers = packet.decode().partition("\r\n\r\n")[0].split("\r\n")
            kept = []
            for header in headers:
                name = header.partition(":")[0].lower()
                if name in ("via", "v", "from", "f", "to", "t", "call-id", "i", "cseq"):
                    kept.append(header + (";tag=phone" if name in ("to", "t") else ""))
            answer = "\r\n".join(["SIP/2.0 200 OK", *kept, "Content-Length: 0", "", ""])
            self.socket.sendto(answer.encode(), sender)
            users.append(first.split(" ")[1].removeprefix("sip:").partition("@")[0])


def attach(port: int, token: str, proxy: Proxy, numbers: range, pause: float = 0.002) -> Told:
    """One after another over one kept connection, each found by its public IP alone."""
    told = Told()
    end = socket.create_connection(("127.0.0.1", port))
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    poll = select.poll()
    poll.register(end, select.POLLIN)
    poll.register(proxy.socket, select.POLLIN)
    for number in numbers:
        body = json.dumps({"public_ip": data.address(number)})
        begun = time.perf_counter()
        end.sendall(
            (
                f"POST /v1/lines/{data.line(number, data.LINES + 1)}/attach HTTP/1.1\r\nHost: localhost\r\n"
                f"Authorization: Bearer {token}\r\nContent-Length: {len(body)}\r\n\r\n{body}"
            ).encode()
        )
        wanted, answered, notified = data.username(number, 1), 0.0, 0.0
        answer = b""
        while not (answered and notified) and time.perf_counter() - begun < _PATIENCE:
            for ready, _ in poll.poll(1000):
                if ready == end.fileno():
                    answer += end.recv(65536)
                    answered = time.perf_counter() - begun
                    if not answer.startswith(b"HTTP/1.1 202"):
                        told.errors += 1
                        notified = -1.0
                elif wanted in proxy.take():
                    notified = time.perf_counter() - begun
        if notified > 0 and answered:
            told.notified.append(notified)
            told.answered.append(answered)
        elif not notified:
            told.errors += 1
        time.sleep(pause)
    end.close()
    return told


def quantile(values: list[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] if ordered else float("nan")
