"""A real phone: Linphone (Debian's linphone-cli), headless, fetches and registers.

Linphone fetches at its start only and cannot be told, so the operation waits for a restart.
"""

import asyncio
import configparser
import os
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from running import Api, Server

from provisioning.simulator.registrar import Registrar

LINPHONE = shutil.which("linphonec")
MAC = "020000aa0003"

pytestmark = pytest.mark.skipif(LINPHONE is None, reason="linphonec is missing; Debian's package is linphone-cli")


class Linphone:
    """One linphonec with a home of its own."""

    def __init__(self, home: Path, url: str) -> None:
        self.home = home
        self.file = home / "linphonerc"
        # Without this folder its core never starts, and does not say why.
        (home / ".local" / "share" / "linphone").mkdir(parents=True)
        self.file.write_text(
            f"[misc]\nconfig-uri={url}\n[sip]\nsip_port=-1\nsip_tcp_port=0\nsip_tls_port=0\n[net]\nmtu=0\ndns_srv_enabled=0\n"
        )
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            LINPHONE or "linphonec",
            "-c",
            str(self.file),
            env=os.environ | {"HOME": str(self.home)},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )

    async def stop(self) -> None:
        """It writes its configuration file on the way out."""
        if self.process is None:
            return
        await asyncio.sleep(0.3)
        try:
            await asyncio.wait_for(self.process.communicate(b"quit\n"), 10)
        except TimeoutError:
            self.process.kill()
            await self.process.wait()
        self.process = None

    def accounts(self) -> dict[str, str]:
        """What its own file holds: username by section."""
        parser = configparser.RawConfigParser(strict=False)
        parser.read(self.file)
        return {
            name: parser[name]["username"]
            for name in parser.sections()
            if name.startswith("auth_info_") and parser[name].get("username")
        }


async def wait_until(met: Callable[[], bool], within: float = 15.0) -> None:
    for _ in range(int(within / 0.05)):
        if met():
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"not within {within} s")


@pytest.fixture
async def registrar() -> AsyncIterator[Registrar]:
    its = Registrar(rpc=True)
    await its.start()
    yield its
    await its.close()


async def test_linphone_fetches_registers_and_follows_attach_and_detach(
    registrar: Registrar, new_server: Callable[..., Server], tmp_path: Path
) -> None:
    host, port = registrar.address
    server = new_server(
        LISTEN__PHONES_HTTPS="", RESYNC__PROXY=f"udp:{host}:{port}", REGISTRAR__LOCATOR=f"kamailio:{registrar.rpc_url}"
    )
    api = Api(server)
    await api.account()
    for name in ("1001", "1002"):
        # Special characters in all the places where they hurt.
        password = f"Zx9\"&<'= #k{name}"
        registrar.passwords[name] = password
        await api.line(
            name,
            outbound_proxy=f"{host}:{port}",
            password=password,
            display_name='Zoé "<Bar> & \\Co"',
            domain="sip.example.net",
        )
    made = await api.phone(MAC, "linphone-desktop", main_line="1001")
    phone = Linphone(tmp_path / "home", made["provisioning_url"])
    try:
        await phone.start()
        await wait_until(lambda: "1001" in registrar.users())
        await phone.stop()
        assert phone.accounts() == {"auth_info_0": "1001"}

        attached = await api.post("/v1/lines/1002/attach", {"public_ip": "127.0.0.1"})
        assert attached.status == 202, attached
        await phone.start()
        await wait_until(lambda: "1002" in registrar.users())
        done = await api.operation(attached.body["id"], "done")
        assert done["facts"]["sip_status"] is None, "nobody claims to have told it"
        await phone.stop()
        assert phone.accounts() == {"auth_info_0": "1001", "auth_info_1": "1002"}

        detached = await api.post("/v1/lines/1002/detach", {"public_ip": "127.0.0.1"})
        assert detached.status == 202, detached
        await phone.start()
        await api.operation(detached.body["id"], "done", within=15)
        await phone.stop()
        assert phone.accounts() == {"auth_info_0": "1001"}
    finally:
        await phone.stop()
        await api.close()
