import asyncio

import pytest
import uvloop
from scripted_phones_server import ScriptedServer

from provisioning.simulator.phone import Pace, Phone, Sheet
from provisioning.simulator.registrar import Registrar

# Nothing here waits for a real phone's patience.
QUICK = Pace(retry_first=0.02, retry_most=0.1, http_timeout=2.0, sip_timeout=0.3, t1=0.02)


def pytest_asyncio_loop_factories(config, item):
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
async def server():
    server = ScriptedServer()
    await server.start()
    yield server
    await server.close()


@pytest.fixture
async def registrar():
    registrar = Registrar({"1001": "secret1001", "1002": "secret1002"}, relay_timeout=0.3, t1=0.02)
    await registrar.start()
    yield registrar
    await registrar.close()


@pytest.fixture
async def a_phone(server):
    """A started phone; its provisioning URL holds a secret as real ones do."""
    phones = []

    async def start(vendor="yealink", mac="001565a1b2c3", **how):
        model, path, common = {
            "yealink": ("T46S", "", ("y000000000066.cfg",)),
            "snom": ("D785", "snomD785-{MAC}.xml", ()),
            "linphone": ("linphone", "{mac}.xml", ()),
        }[vendor]
        url = f"{server.url}/p/s3cr3t/" + path.replace("{mac}", mac).replace("{MAC}", mac.upper())
        phone = Phone(Sheet(mac, vendor, model, url, common), **({"pace": QUICK, "seed": 1} | how))
        phones.append(phone)
        await phone.start()
        return phone

    yield start
    for phone in phones:
        await phone.close()
