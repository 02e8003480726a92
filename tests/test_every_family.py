"""Every family of every vendor with the real server: its phones boot, take a line, lose it, and read what was
chosen for them. One server, one registrar and real SIP and HTTP for all; each test has a phone of its own.
"""

import asyncio
import itertools
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
import pytest_asyncio
from running import Answer, Api, Server, fetch

from provisioning import vendors
from provisioning.config import ROOT
from provisioning.domain.catalogue import Model
from provisioning.domain.mac import Mac
from provisioning.simulator.phone import Pace, Phone, Sheet
from provisioning.simulator.registrar import Registrar

pytestmark = pytest.mark.asyncio(loop_scope="module")

VENDORS = vendors.load(ROOT / "templates" / "phones", ROOT / "firmware")
HERE = {"public_ip": "127.0.0.1"}
# Of vendors without a prefix, as softphones' are (IEEE 802c).
_NO_PREFIX = "02c0de"
_numbers = itertools.count(0x510000)


def representatives() -> list[Model]:
    """Of each family the first model that takes a second line, or else its first."""
    return [
        next((model for model in own if model.slots > 1), own[0])
        for vendor in VENDORS.catalogue.vendors
        for family in vendor.families
        for own in [[model for model in vendor.models if model.family.name == family.name]]
    ]


FAMILIES = {f"{model.vendor}/{model.family.name}": model for model in representatives()}


# None is known that makes it fetch without a restart.
RESTARTS = ("lg/sip",)
# The first that the family has is tried.
SETTINGS = {
    "syslog_server": "192.0.2.77",
    "ntp_server": "ntp.example.net",
    "language": "de",
    "register_expires": 1234,
    "codecs": ["pcmu", "pcma"],
    "time_zone": "America/New_York",
}
# Its settings have no public names.
WITHOUT_SETTINGS = ("gigaset/desk",)
PARAMETERS = {
    "alcatel/myriad": "Account1AutoAnswerEnable",
    "alcatel/noe": "Account1AudioCodec",
    "cisco/spa": "ACD_Ext",
    "cisco/ata": "ACD_Ext",
    "cisco/mpp": "ACD_Ext",
    "gigaset/dect": "DmGlobal.1.HSIdleDisplay",
    "gigaset/base": "BS_AE_Subscriber.stMtDat[1].aucTlnName",
    "gigaset/maxwell": "DmGlobal.1.HSIdleDisplay",
    "gigaset/n720": "BS_AE_Subscriber.stMtDat[1].aucTlnName",
    "grandstream/ata": "P1",
    "grandstream/gxp": "P1",
    "grandstream/grp": "CACertificates.1",
    "grandstream/gxv": "CACertificates.1",
    "grandstream/dect": "P1",
    "htek/uc": "P1",
    "mitel/desk": "advisorymsg",
    "mitel/aastra": "advisorymsg",
    "mitel/first": "advisorymsg",
    "panasonic/hdv": "ACS_PASS",
    "panasonic/ut": "ACS_PASS",
    "panasonic/tgp5": "ACS_PASS",
    "polycom/ucs": "acd.1.unavailreason.active",
    "polycom/sip3": "acd.1.unavailreason.active",
    "snom/desk": "ac_code",
    "snom/dect": "accept_event_talk_without_sdp",
    "yealink/desk": "account.1.1rel_enable",
    "yealink/dect": "account.1.1rel_enable",
    "yealink/multicell": "account.1.1rel_enable",
    "yealink/legacy": "account.1.1rel_enable",
}
"Of each family one that nothing else writes."
SENDS_BY_ITSELF = ("polycom/ucs", "polycom/sip3")


def able(*, to: str) -> list[str]:
    return [name for name, model in FAMILIES.items() if to in model.capabilities]


class Home:
    """A phone with its account, its line, and a second line that is on no phone yet."""

    def __init__(self, world: "World", model: Model, mac: str) -> None:
        self.api = world.api
        self.server = world.server
        self.registrar = world.registrar
        self.model = model
        self.mac = mac
        self.account = f"a{mac}"
        self.main, self.second = f"main{mac}", f"second{mac}"
        self.boots = 0
        self.phone: Phone

    async def move_in(self, *, scheme: str = "https", pace: Pace | None = None) -> None:
        await self.api.account(self.account)
        host, port = self.registrar.address
        for line in (self.main, self.second):
            await self.api.line(line, self.account, outbound_proxy=f"{host}:{port}")
            self.registrar.passwords[line] = f"pw-{line}"
        made = await self.api.phone(self.mac, self.model.id, self.account, main_line=self.main)
        known = (await self.api.get(f"/v1/models/{self.model.id}")).body
        url = made["provisioning_url"]
        if scheme == "http":
            url = url.replace(self.server.https, self.server.http)
        sheet = Sheet(self.mac, known["vendor"], known["name"], url, tuple(known["common"]), known["family"])
        self.phone = Phone(sheet, tls=self.server.trust(), pace=pace or Pace(retry_first=0.2), on_event=self._heard)
        await self.phone.start()
        await self.phone.wait_for(lambda its: its.provisioned, 5)

    def _heard(self, phone: Phone, kind: str, text: str) -> None:
        self.boots += kind == "booted"

    @property
    def users(self) -> list[str]:
        return [line.username for line in self.phone.lines]

    @property
    def read(self) -> dict[str, str]:
        """What the phone made of its files."""
        assert self.phone.configuration is not None
        return dict(self.phone.configuration.settings)

    async def story(self, *, until: str) -> dict[str, Any]:
        """The phone's events by kind, once one of this kind is recorded behind an answer."""
        for _ in range(250):
            items = (await self.api.get(f"/v1/phones/{self.mac}/events")).body["items"]
            found = {event["kind"]: event["detail"] for event in items}
            if until in found:
                return found
            await asyncio.sleep(0.02)
        raise AssertionError(f"{until} is not in {found}")

    async def fetched(self) -> None:
        """As if it were told: the whole of its sequence once more."""
        self.phone._act(reboot=False)
        await self.settled()

    async def settled(self) -> None:
        await self.phone.wait_for(lambda its: its.resyncs_fetched == its.resyncs)

    async def setting(self) -> tuple[str, Any]:
        """One that its model has, and a value for it."""
        its = (await self.api.get(f"/v1/phones/{self.mac}/settings")).body["settings"]
        supported = {setting["name"] for setting in its if setting["supported"]}
        return next((name, value) for name, value in SETTINGS.items() if name in supported)

    async def done(self, answer: Answer) -> dict[str, Any]:
        """The operations of a change, once the phone has fetched it: told, or by itself where it cannot be told."""
        assert answer.status in (200, 202), answer
        started = answer.body.get("operations") or [answer.body["id"]]
        if self.model.event is None:
            self.phone._act(reboot=False)
        operation = await self.api.operation(started[0], "done")
        # It is done with the phone's own file; some ask for others after it.
        await self.settled()
        return operation


class World:
    def __init__(self, server: Server, registrar: Registrar) -> None:
        self.server = server
        self.registrar = registrar
        self.api = Api(server)
        self.homes: list[Home] = []

    async def home(self, name: str, **how: Any) -> Home:
        model = FAMILIES[name]
        prefix = next(iter(VENDORS.catalogue.vendor(model.vendor).prefixes), _NO_PREFIX)
        its = Home(self, model, f"{prefix}{next(_numbers):06x}")
        self.homes.append(its)
        await its.move_in(**how)
        return its


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def registrar() -> AsyncIterator[Registrar]:
    async with Registrar(rpc=True, relay_timeout=0.4) as its:
        yield its


@pytest.fixture(scope="module")
def server(registrar: Registrar, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    host, port = registrar.address
    route = {"RESYNC__PROXY": f"udp:{host}:{port}", "REGISTRAR__LOCATOR": f"kamailio:{registrar.rpc_url}"}
    its = Server(tmp_path_factory.mktemp("families"), route | {"RESYNC__T1": "0.05"})
    its.start()
    yield its
    code = its.stop()
    assert code == 0, its.log.read_text()
    assert "Traceback" not in its.log.read_text()


@pytest_asyncio.fixture(loop_scope="module")
async def world(server: Server, registrar: Registrar) -> AsyncIterator[World]:
    its = World(server, registrar)
    yield its
    for home in its.homes:
        await home.phone.close()
    await its.api.close()


@pytest.mark.parametrize("family", FAMILIES)
async def test_it_boots_by_its_vendors_sequence_and_registers(world: World, family: str) -> None:
    home = await world.home(family, scheme="http")
    assert home.phone.problem == ""
    assert home.users == [home.main]
    assert [line.username for line in home.phone.registered_lines] == [home.main]
    (contact,) = world.registrar.contacts(home.main)
    assert contact.verified
    for fetched in home.phone.fetches:
        assert (fetched.problem, fetched.status) in {("", status) for status in (200, 204, 404)}, fetched
    await home.fetched()
    assert home.phone.problem == ""
    # It calls itself what it is recorded as.
    story = await home.story(until="bound")
    assert "mismatch" not in story, story["mismatch"]


@pytest.mark.parametrize("family", [name for name, model in FAMILIES.items() if model.slots > 1])
async def test_a_line_comes_and_goes(world: World, family: str) -> None:
    home = await world.home(family)
    attached = await home.done(await home.api.post(f"/v1/lines/{home.second}/attach", HERE))
    assert attached["kind"] == "attach"
    await home.phone.wait_for(lambda its: len(its.registered_lines) == 2)
    assert home.users == [home.main, home.second]
    assert world.registrar.contacts(home.second)

    await home.done(await home.api.post(f"/v1/lines/{home.second}/detach", HERE))
    await home.phone.wait_for(lambda its: [line.username for line in its.registered_lines] == [home.main])
    assert home.users == [home.main]
    assert not [name for name, value in home.read.items() if home.second in value]
    assert home.boots == (3 if family in RESTARTS else 1)


@pytest.mark.parametrize("family", [name for name in FAMILIES if name not in WITHOUT_SETTINGS])
async def test_a_setting_reaches_it(world: World, family: str) -> None:
    home = await world.home(family)
    name, value = await home.setting()
    before = home.read
    await home.done(await home.api.call("PATCH", f"/v1/phones/{home.mac}/settings", {"settings": {name: value}}))
    changed = {key: text for key, text in home.read.items() if before.get(key) != text}
    assert changed
    if not isinstance(value, str) or "." in value:
        assert any(str(value) in text for text in changed.values()), changed


@pytest.mark.parametrize("family", able(to="parameters"))
async def test_a_parameter_by_its_vendors_name_reaches_it(world: World, family: str) -> None:
    home = await world.home(family)
    name = PARAMETERS[family]
    await home.done(await home.api.call("PATCH", f"/v1/phones/{home.mac}/settings", {"parameters": {name: "7"}}))
    whole = re.compile(rf"(?<!\w){re.escape(name)}(?!\w)")
    assert [text for key, text in home.read.items() if whole.search(key)] == ["7"]


@pytest.mark.parametrize("family", able(to="keys"))
async def test_a_key_reaches_it(world: World, family: str) -> None:
    home = await world.home(family)
    kind = next(kind for kind in ("speed-dial", "blf") if kind in home.model.family.keys)
    key = {"type": kind, "value": "+33972109999", "label": "Boss"}
    await home.done(await home.api.call("PUT", f"/v1/phones/{home.mac}/keys/{home.model.keys}", key))
    assert [text for text in home.read.values() if "33972109999" in text], home.read


@pytest.mark.parametrize("family", able(to="reboot"))
async def test_a_change_may_restart_it(world: World, family: str) -> None:
    home = await world.home(family)
    wanted = {"settings": dict([await home.setting()]), "auto_reboot": True}
    await home.done(await home.api.call("PATCH", f"/v1/phones/{home.mac}/settings", wanted))
    assert home.phone.notifies[-1].event == home.model.reboot_event
    assert home.boots == 2


@pytest.mark.parametrize("family", able(to="phonebook"))
async def test_a_contact_reaches_it(world: World, family: str) -> None:
    home = await world.home(family)
    contact = {"name": "Ada", "surname": "Lovelace", "work": "+33972105555"}
    await home.api.make(f"/v1/accounts/{home.account}/phonebook", contact)
    await home.fetched()
    document, dialect = home.model.contacts, home.phone.dialect
    assert document is not None
    assert dialect.contacts is not None
    name = document.name_for(Mac(home.mac))
    asked = [fetch for fetch in home.phone.fetches if fetch.name == name.rpartition("/")[2]]
    assert asked[-1].status == 200
    secret = urlsplit(home.phone.sheet.provisioning_url).path.split("/")[1]
    served = await fetch(f"{world.server.https}/{secret}/{name}", world.server)
    (found,) = dialect.contacts(served.body)
    assert sorted(found.name.replace(",", "").split()) == ["Ada", "Lovelace"]
    assert [number.lstrip("+0") for number in found.numbers] == ["33972105555"]
    if home.phone.configuration and home.phone.configuration.phonebook_url:
        assert home.phone.contacts == (found,)


@pytest.mark.parametrize("family", able(to="encryption"))
async def test_it_reads_its_configuration_encrypted(world: World, family: str) -> None:
    home = await world.home(family)
    own = home.phone._own_url
    plain = (await fetch(own, world.server)).body
    wanted = {"settings": {"encrypt_configuration": True}}
    await home.done(await home.api.call("PATCH", f"/v1/phones/{home.mac}/settings", wanted))
    # It was told the key in the clear; from now on it is not.
    await home.fetched()
    assert home.phone.problem == ""
    assert home.users == [home.main]
    sealed = (await fetch(home.phone._own_url, world.server)).body
    for told in (f"pw-{home.main}", "sip.example.net"):
        assert told.encode() in plain
        assert told.encode() not in sealed
    with pytest.raises(ValueError, match=r".*"):
        home.phone.dialect.settings(sealed)

    for document in home.model.documents.values():
        if document.content_encryption:
            wanted = {"settings": {"http_content_encryption": True}}
            await home.done(await home.api.call("PATCH", f"/v1/phones/{home.mac}/settings", wanted))
            await home.fetched()
            assert home.phone.problem == ""
            coded = await fetch(home.phone._own_url, world.server)
            assert coded.headers["Content-Encoding"] == document.content_encryption
            break
    if home.model.slots > 1:
        await home.done(await home.api.post(f"/v1/lines/{home.second}/attach", HERE))
        assert home.users == [home.main, home.second]
    wanted = {"settings": {"encrypt_configuration": None}}
    await home.done(await home.api.call("PATCH", f"/v1/phones/{home.mac}/settings", wanted))
    await home.fetched()
    assert home.phone.problem == ""
    assert home.phone.dialect.settings((await fetch(home.phone._own_url, world.server)).body)


@pytest.mark.parametrize("family", able(to="uploads"))
async def test_what_it_sends_is_kept(world: World, family: str) -> None:
    """By itself where its boot has it; otherwise as its user's changes."""
    home = await world.home(family)
    sent = [fetch.name for fetch in home.phone.fetches if fetch.status == 204]
    kept = (await home.api.get(f"/v1/phones/{home.mac}/uploads")).body["items"]
    assert sorted(sent) == sorted(upload["name"] for upload in kept)
    assert bool(sent) == (family in SENDS_BY_ITSELF)
    for upload in home.model.family.uploads.values():
        name = upload.name.replace("{mac}", home.mac)
        url = f"{home.phone.provisioning_url.rstrip('/')}/{name}"
        assert (await put(url, world.server, b"what it is about")).status == 204
        given = await fetch(url, world.server)
        if upload.readable:
            assert (given.status, given.body) == (200, b"what it is about")
        else:
            assert given.body != b"what it is about"
        read = await home.api.get(f"/v1/phones/{home.mac}/uploads/{name}")
        assert (read.status, read.body) == (200, b"what it is about")


async def put(url: str, server: Server, body: bytes) -> Answer:
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=server.trust())) as session,
        session.put(url, data=body) as response,
    ):
        return Answer(response.status, await response.read())
