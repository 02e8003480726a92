"""`make run`: what it prints works when pasted, and a second run keeps the data."""

import contextlib
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    shutil.which("curl") is None, reason="curl is missing, with which the requests are made"
)


def free_ports(count: int) -> list[int]:
    """The demo's phones keep the URL of the first run, so its ports stay: below those that the kernel gives away
    to whoever connects meanwhile."""
    held: list[socket.socket] = []
    while len(held) < count:
        with contextlib.suppress(OSError):
            held.append(socket.create_server(("127.0.0.1", random.randrange(20_000, 32_000))))
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


class Demo:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.output = directory / "output"
        self.process: subprocess.Popen[bytes] | None = None
        names = ("PHONES_HTTP", "PHONES_HTTPS", "MANAGEMENT")
        self.listen = {
            f"PROVISIONING__LISTEN__{name}": f"127.0.0.1:{port}"
            for name, port in zip(names, free_ports(3), strict=True)
        }

    def start(self) -> str:
        """What it printed, once it is ready."""
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-W", "error", "-m", "provisioning", "serve", "--demo"],
                cwd=self.directory,
                env=os.environ | self.listen,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        for _ in range(200):
            if "Stop with Ctrl-C" in self.output.read_text():
                return self.output.read_text()
            assert self.process.poll() is None, self.output.read_text()
            time.sleep(0.05)
        raise AssertionError(self.output.read_text())

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)
            assert self.process.wait(20) == 0, self.output.read_text()
            self.process = None

    def paste(self, command: str) -> str:
        done = subprocess.run(
            ["bash", "-c", command], cwd=self.directory, capture_output=True, text=True, timeout=20, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    its = Demo(tmp_path)
    yield its
    if its.process is not None:
        its.process.kill()
        its.process.wait()


def test_the_three_requests_work_when_pasted_and_again_after_a_restart(demo: Demo) -> None:
    attached = []
    # Two lines are free; once both are attached, the third request takes one out again.
    for verb in ("attach", "attach", "detach", "attach"):
        printed = demo.start()
        boot, ask, change = re.findall(r"^\s+(curl .*)$", printed, re.MULTILINE)
        assert "account.1.enable = 1" in demo.paste(boot)
        phones = json.loads(demo.paste(ask))["items"]
        assert len(phones) == 3
        assert sorted(phone["slots_free"] == 0 for phone in phones) == [False, False, True]
        time.sleep(0.7)
        answer = json.loads(demo.paste(change))
        assert answer.get("kind") == verb, answer
        attached.append(answer["line"])
        demo.stop()
    assert ("admin token" in printed) is False, "it is shown once"
    assert attached == ["line-5", "line-6", "line-6", "line-6"]
