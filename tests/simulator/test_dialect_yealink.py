"""Yealink phones: what they ask for, read and refuse, and what our files make of each kind of them."""

import subprocess
from pathlib import Path

import pytest

from provisioning import vendors
from provisioning.domain.catalogue import Model
from provisioning.domain.held import Held
from provisioning.domain.keys import Key
from provisioning.domain.line import Line
from provisioning.domain.mac import Mac
from provisioning.domain.settings import DEFAULTS
from provisioning.rendering import compose
from provisioning.rendering.compose import Site
from provisioning.rendering.encryption import encrypt
from provisioning.rendering.values import FirmwareValues
from provisioning.simulator.dialects import yealink
from provisioning.simulator.dialects.base import Answer, Ask, Handset, ReadConfiguration, read

ROOT = Path(__file__).parents[2]
VENDORS = vendors.load(ROOT / "templates" / "phones", ROOT / "firmware")
YEALINK = VENDORS.catalogue.vendor("yealink")
KNOWN = {*(ROOT / "tests/data/params-yealink.txt").read_text("utf-8").splitlines(), *YEALINK.cited}
MAC = Mac("001565a1b2c3")
URL = "https://phones.example.net/secret"
HEAD = b"#!version:1.0.0.1\n"
OK = HEAD + b"account.1.enable = 1\naccount.1.user_name = 1001\naccount.1.sip_server.1.address = sip.example.net\n"
MISSING = Answer(404)

# What the operator hands out, as it spells it in its orders.
HANDED_OUT = (
    *("t41p", "t41s", "t46g", "t46s", "t53", "t53w", "t54w", "t58wpro", "t73w", "t85w", "t88wpro"),
    *("w53p", "w56p", "w70b", "ax83h", "ax86r", "cp860", "cp920", "cp925", "cp960"),
)
# As other provisioning servers have seen them.
AGENTS = (
    ("CP860", "Yealink CP860 37.72.0.5 00:15:65:8a:37:86"),
    ("CP960", "Yealink CP960 73.83.0.30 00:15:65:8a:37:86"),
    ("T19P_E2", "Yealink SIP-T19P_E2 53.80.0.3 00:15:65:4c:4c:26"),
    ("T20P", "Yealink SIP-T20P 9.72.0.30 00:15:65:5e:16:7c"),
    ("T21P_E2", "Yealink SIP-T21P_E2 52.80.0.3 00:15:65:4c:4c:26"),
    ("T22P", "Yealink SIP-T22P 7.72.0.30 00:15:65:39:31:fc"),
    ("T26P", "Yealink SIP-T26P 6.72.0.30 00:15:65:4b:57:d2"),
    ("T27P", "Yealink SIP-T27P 45.80.0.25 00:15:65:8c:48:12"),
    ("T29G", "yealink SIP-T29G 46.83.0.120 00:15:65:13:ae:0b"),
    ("T31G", "Yealink SIP-T31G 124.85.257.55 80:5e:c0:d5:7d:72"),
    ("T34W", "Yealink SIP-T34W 124.86.0.75 24:9a:d8:88:d0:f4"),
    ("T38G", "Yealink SIP-T38G  38.70.0.125 00:15:65:00:00:00"),
    ("T40P", "Yealink SIP-T40P 54.80.0.10 00:15:65:94:86:64"),
    ("T41P", "Yealink SIP-T41P 36.72.0.1 00:15:65:53:83:22"),
    ("T42G", "Yealink SIP-T42G 29.72.0.1 00:15:65:4c:3b:b0"),
    ("T42G", "Yealink SIP-T42G 29.83.0.120 00:15:65:4c:3b:b0"),
    ("T46G", "Yealink SIP-T46G 28.83.0.120 00:15:65:4a:a9:37"),
    ("T48G", "Yealink SIP-T48G 35.72.0.6 00:15:65:5c:60:82"),
    ("T49G", "Yealink SIP VP-T49G 51.80.0.10 00:15:65:9b:5a:44"),
    ("T49G", "Yealink SIP-T49G 51.80.0.10 00:15:65:9b:5a:44"),
    ("T58A", "Yealink SIP-T58A 58.83.0.15 00:15:65:9b:5b:22"),
    ("T77U", "Yealink SIP-T77U 185.87.0.10 44:db:d2:bd:b5:69"),
    ("T87W", "Yealink SIP-T87W 185.87.0.10 44:db:d2:c9:73:b7"),
    ("VP530", "VP530 23.70.0.41 00:15:65:3d:58:e3"),
    ("W52P", "Yealink SIP-W52P 25.73.0.20 00:15:65:40:ae:35"),
    ("W52P", "Yealink W52P 25.80.0.15 00:15:65:b8:60:05"),
    ("W70B", "Yealink W70B 146.85.0.5 80:5e:0c:1d:65:4e"),
    ("W70B", "Yealink W70B 146.87.0.15 80:5e:0c:1d:65:4e"),
    ("W75B", "Yealink W75B 175.87.0.10 24:9a:d8:df:fb:11"),
    ("W80B", "Yealink W80B 103.83.0.122 24:9a:d8:d1:a6:31"),
    ("W80B", "Yealink W80B 103.87.0.10 24:9a:d8:d1:a6:31"),
    ("W80DM", "Yealink W80DM 103.83.0.122 24:9a:d8:d1:a6:31"),
    ("W90DM", "Yealink W90DM 130.85.0.15 80:5e:c0:d9:c7:44"),
    ("W90DM", "Yealink W90DM 130.87.0.10 80:5e:c0:d9:c7:44"),
)


def model(name: str) -> Model:
    return VENDORS.catalogue.models[f"yealink-{name}"]


def line(number: int = 1, **changed: str) -> Line:
    fields = {
        "name": f"line{number}",
        "account": "acme",
        "number": f"+3397210{1200 + number:04d}",
        "username": f"003397210{1200 + number:04d}",
        "password": f"password{number}",
        "domain": "sip.example.net",
        "display_name": f"Person {number}",
    }
    return Line(**{**fields, **changed})


def body(of: Model, lines: dict[int, Line], keys: tuple[Key, ...] = (), *, stage: int = 1, **chosen: object) -> bytes:
    """Its own file, in the clear."""
    firmware = {of.id: FirmwareValues("1.2.3", "https://phones.example.net/firmware/a.rom")}
    site = Site("https://phones.example.net", {}, VENDORS.zones, firmware)
    held = Held(list(lines.items()), {**DEFAULTS, **chosen}, {}, keys, (), ())
    values = compose.stage1(site, of, MAC, "secret", held) if stage else compose.stage0(site, of)
    document = next(document for document in of.documents.values() if document.lines)
    return VENDORS.renderer.render(document, of, values)


def settings(of: Model, lines: dict[int, Line], keys: tuple[Key, ...] = (), **chosen: object) -> dict[str, str]:
    return yealink.settings(body(of, lines, keys, **chosen))


def played(family: str, answers: dict[str, bytes], held: ReadConfiguration | None = None, url: str = URL, common=()):
    """What the phone asked for, as (method, name), and what it then has. Names without an answer are 404."""
    phone = Handset(MAC, "T41S", url, common, held)
    boot = yealink.DIALECTS[family].boot(phone)
    asked: list[Ask] = []
    try:
        ask = next(boot)
        while True:
            asked.append(ask)
            name = ask.url.removeprefix(f"{URL}/")
            ask = boot.send(Answer(200, answers[name]) if name in answers else MISSING)
    except StopIteration as done:
        return [(ask.method, ask.url.removeprefix(f"{URL}/")) for ask in asked], done.value, asked


@pytest.mark.parametrize("name", HANDED_OUT)
def test_what_the_operator_hands_out_is_there(name):
    assert model(name).slots >= 1
    assert model(name).capabilities.count("resync") == 1


@pytest.mark.parametrize(("name", "agent"), AGENTS, ids=[agent for _, agent in AGENTS])
def test_a_user_agent_says_which_model_it_is(name, agent):
    found = next(match for pattern in YEALINK.agents if (match := pattern.match(agent)))
    assert found["model"] == name
    assert found["mac"] == agent[-17:]
    assert found["firmware"] == agent.split()[-2]
    assert name.lower() in [model.name.lower() for model in YEALINK.models]


@pytest.mark.parametrize("of", YEALINK.models, ids=lambda of: of.name)
def test_the_agents_read_what_a_simulated_phone_says(of):
    phone = Handset(MAC, of.name, URL, tuple(shape for shape in of.documents if "{mac}" not in shape))
    agent = yealink.DIALECTS[of.family.name].http_agent(phone)
    assert [match["model"] for pattern in YEALINK.agents if (match := pattern.match(agent))] == [of.name]


@pytest.mark.parametrize("of", YEALINK.models, ids=lambda of: of.name)
def test_every_parameter_of_every_model_is_known(of):
    lines = {number: line(number) for number in range(1, min(of.slots, 4) + 1)}
    keys = tuple(Key(0, number, "blf", "100") for number in range(1, of.keys + 1) if of.family.keys)
    used = set()
    for chosen in ({}, {"srtp": "optional", "dtmf": "info", "syslog_server": "192.0.2.5", "voice_vlan": 20}):
        for few in (lines, {}):
            found = settings(of, few, keys, encrypt_configuration=True, voicemail_number="888", **chosen)
            used |= {yealink.oracle_name(key) for key in found}
    assert used - KNOWN == set()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"", "the first line"),
        (b"account.1.enable = 1\n", "the first line"),
        (b"\n#!version:1.0.0.1\n", "the first line"),
        (b"#!version:1.0.0.1 \n", "the first line"),
        (b"\xef\xbb\xbf#!version:1.0.0.1\n", "the first line"),
        (HEAD + b"account.1.enable\n", "line 2"),
        (HEAD + b"= 1\n", "line 2"),
        (HEAD + b"account 1 = 1\n", "line 2"),
        (HEAD + b"a = 1\n[account]\n", "line 3"),
        (HEAD + b"a = 1\na = 2\n", "set twice"),
        (HEAD + b"a = 1\n\x85b\n", "codec can't decode"),
        (HEAD + b"static.security.user_password = secret\n", "no user's password"),
        (HEAD + b"static.security.user_password = admin:\n", "no user's password"),
        (HEAD + b"security.user_password = root:x\n", "no user's password"),
        (HEAD + b"security.user_password = admin:x\nsecurity.user_password = admin:y\n", "set twice"),
    ],
)
def test_refuses_what_is_no_configuration(text, problem):
    with pytest.raises(ValueError, match=problem):
        yealink.settings(text)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"local_time.start_time = 3/5/0/2\n", "no month/week/weekday/hour"),
        (b"local_time.end_time = 10/5/7/24\n", "no month/week/weekday/hour"),
        (b"static.auto_provision.aes_key.mac = short\n", "16 or 32"),
        (b"static.auto_provision.aes_key.mac = with a blank 16!\n", "16 or 32"),
        (OK[18:] + b"account.1.sip_server.1.transport_type = 7\n", "transport_type is '7'"),
        (OK[18:] + b"account.1.codec.pcma.priority = 1\naccount.1.codec.pcmu.priority = 1\n", "one priority"),
        (
            b"static.auto_provision.repeat.enable = 1\nstatic.auto_provision.repeat.minutes = often\n",
            "is no number",
        ),
    ],
)
def test_refuses_values_that_a_phone_would(text, problem):
    with pytest.raises(ValueError, match=problem):
        read(yealink.DIALECTS["desk"], HEAD + text)


@pytest.mark.parametrize("chosen", ["", "0", "11", "one"])
def test_a_multicell_base_has_ten_servers(chosen):
    text = HEAD + f"account.1.enable = 1\naccount.1.user_name = a\naccount.1.sip_server.template = {chosen}\n".encode()
    with pytest.raises(ValueError, match=r"template is|there are ten"):
        read(yealink.DIALECTS["multicell"], text)


@pytest.mark.parametrize("url", [URL, f"{URL}/"])
@pytest.mark.parametrize("family", ["desk", "dect", "multicell"])
def test_asks_for_boot_files_then_the_common_file_then_its_own(family, url):
    common = ("y000000000068.cfg", "elsewhere.xml")
    asked, found, asks = played(family, {f"{MAC}.cfg": HEAD}, url=url, common=common)
    assert asked == [
        ("GET", f"{MAC}.boot"),
        ("GET", "y000000000000.boot"),
        ("GET", "y000000000068.cfg"),
        ("GET", f"{MAC}.cfg"),
    ]
    assert [ask.own for ask in asks] == [False, False, False, True]
    assert found.lines == ()


def test_its_own_file_wins_over_the_common_one():
    common = HEAD + b"local_time.ntp_server1 = a\nlang.gui = French\n"
    own = HEAD + b"local_time.ntp_server1 = b\n"
    _, found, _ = played("desk", {"y000000000068.cfg": common, f"{MAC}.cfg": own}, common=("y000000000068.cfg",))
    assert found.settings == {"local_time.ntp_server1": "b", "lang.gui": "French"}


@pytest.mark.parametrize("spelling", ['"{}"', "<{}>", "{}"])
def test_a_boot_file_says_what_is_fetched(spelling):
    text = f"include:config {spelling.format('site.cfg')}\ninclude:config {spelling.format(f'{MAC}.cfg')}\n"
    boot = HEAD + b"# ours\noverwrite_mode = 1\n" + text.encode()
    asked, _, _ = played("desk", {"y000000000000.boot": boot, f"{MAC}.cfg": OK}, common=("y000000000068.cfg",))
    assert [name for _, name in asked] == [f"{MAC}.boot", "y000000000000.boot", "site.cfg", f"{MAC}.cfg"]
    asked, _, _ = played("desk", {f"{MAC}.boot": boot, f"{MAC}.cfg": OK})
    assert [name for _, name in asked] == [f"{MAC}.boot", "site.cfg", f"{MAC}.cfg"]


@pytest.mark.parametrize("text", [b"", b"include:config site.cfg\n", HEAD + b"site.cfg\n", HEAD + b"include:config\n"])
def test_refuses_what_is_no_boot_file(text):
    with pytest.raises(ValueError, match=r"first line|includes no configuration"):
        played("desk", {f"{MAC}.boot": text})


def test_what_its_user_changed_is_kept_on_the_server_where_that_is_asked_for():
    protect = OK + b"static.auto_provision.custom.protect = 1\nstatic.auto_provision.custom.sync = 1\n"
    changed = HEAD + b"lang.gui = Italian\nstatic.lang.gui = Polish\n"
    local = f"{MAC}-local.cfg"
    asked, found, asks = played("desk", {f"{MAC}.cfg": protect, local: changed})
    assert asked[-2:] == [("GET", local), ("PUT", local)]
    assert (found.settings["lang.gui"], "static.lang.gui" in found.settings) == ("Italian", False)
    assert yealink.settings(asks[-1].body) == yealink.settings(changed)
    assert model("t41s").family.uploads["{mac}-local.cfg"].readable
    asked, _, _ = played("desk", {f"{MAC}.cfg": OK})
    assert not any(name == local for _, name in asked)


def test_asks_for_a_key_before_each_file_where_it_was_told_to():
    held = ReadConfiguration({"static.auto_provision.aes_key_in_file": "1"}, (), None, None, None)
    asked, _, _ = played("desk", {f"{MAC}.cfg": OK}, held, common=("y000000000068.cfg",))
    assert [name for _, name in asked[2:]] == [
        *("y000000000068_Security.enc", "y000000000068.cfg", f"{MAC}_Security.enc", f"{MAC}.cfg"),
    ]


def test_old_firmware_knows_no_boot_file():
    asked, found, asks = played("legacy", {f"{MAC}.cfg": HEAD}, common=("y000000000000.cfg",))
    assert asked == [("GET", "y000000000000.cfg"), ("GET", f"{MAC}.cfg")]
    assert [ask.own for ask in asks] == [False, True]
    assert found.lines == ()


@pytest.mark.parametrize(
    ("event", "policy", "act"),
    [
        ("check-sync;reboot=false", "0", "fetch"),
        ("check-sync", "0", "fetch"),
        ("check-sync;reboot=true", "0", "reboot"),
        ("Check-Sync ; Reboot=True", "0", "reboot"),
        ("check-sync;reboot=false", "1", "reboot"),
        ("check-sync;reboot=false", None, "reboot"),
        ("check-sync;reboot=true", "2", "nothing"),
        ("message-summary", "0", None),
    ],
)
@pytest.mark.parametrize("family", yealink.DIALECTS)
def test_what_it_does_when_it_is_told(family, event, policy, act):
    found = {} if policy is None else {"sip.notify_reboot_enable": policy}
    assert yealink.DIALECTS[family].told(event, "", found) == act


@pytest.mark.parametrize("name", ["t41s", "t41p", "w60b", "w52p", "w70b", "t28p", "t38g"])
def test_our_notify_makes_it_fetch_and_not_restart(name):
    of = model(name)
    dialect = yealink.DIALECTS[of.family.name]
    for stage in (0, 1):
        found = yealink.settings(body(of, {1: line()} if stage else {}, stage=stage))
        assert dialect.told(of.event, "", found) == "fetch"
        assert dialect.told(of.reboot_event, "", found) == "reboot"


@pytest.mark.parametrize("name", ["t41s", "t46g", "w70b", "t28p"])
def test_openssl_reads_what_we_encrypt_and_so_does_the_phone(name):
    of = model(name)
    clear = body(of, {1: line()}, encrypt_configuration=True)
    found = read(yealink.DIALECTS[of.family.name], clear)
    names = [key for key in found.settings if "aes_key" in key]
    (key,) = {found.settings[name] for name in names}
    sealed = encrypt("yealink-aes", clear, key)
    assert b"account.1" not in sealed
    opened = subprocess.run(
        ["openssl", "enc", "-d", "-aes-128-ecb", "-nopad", "-K", key.encode().hex()],
        input=sealed,
        capture_output=True,
        check=True,
    ).stdout
    assert opened.rstrip(b" ") == clear
    assert len(opened) % 16 == 0
    _, read_back, _ = played(of.family.name, {f"{MAC}.cfg": sealed}, found)
    assert read_back.settings == found.settings
    wrong = ReadConfiguration(dict.fromkeys(names, "0123456789abcdef"), (), None, None, None)
    with pytest.raises(ValueError, match=r"first line|decode"):
        played(of.family.name, {f"{MAC}.cfg": sealed}, wrong)
    with pytest.raises(ValueError, match="neither a configuration"):
        played(of.family.name, {f"{MAC}.cfg": sealed[:-1]}, found)


@pytest.mark.parametrize("name", ["t41s", "w60b", "w70b", "t28p", "t38g"])
@pytest.mark.parametrize(
    ("zone", "offset", "summer"),
    [
        ("Europe/Paris", "+1", ("3/5/7/2", "10/5/7/3", "60")),
        ("Europe/Lisbon", "0", ("3/5/7/1", "10/5/7/2", "60")),
        ("Europe/Dublin", "0", ("3/5/7/1", "10/5/7/2", "60")),
        ("America/St_Johns", "-3:30", ("3/2/7/2", "11/1/7/2", "60")),
        ("Australia/Lord_Howe", "+10:30", ("10/1/7/2", "4/1/7/2", "30")),
        # Two hours after midnight of that Thursday: the phone has no such hour.
        ("Asia/Jerusalem", "+2", ("3/4/4/23", "10/5/7/2", "60")),
        ("Asia/Kolkata", "+5:30", None),
        ("UTC", "0", None),
    ],
)
def test_clocks_change_by_the_zone_s_own_rule(name, zone, offset, summer):
    found = settings(model(name), {1: line()}, time_zone=zone)
    assert found["local_time.time_zone"] == offset
    if summer is None:
        assert found["local_time.summer_time"] == "0"
        return
    names = ("start_time", "end_time", "offset_time")
    assert (found["local_time.summer_time"], found["local_time.dst_time_type"]) == ("1", "1")
    assert tuple(found[f"local_time.{name}"] for name in names) == summer


@pytest.mark.parametrize("name", ["t41s", "w60b", "w70b"])
def test_codecs_are_in_the_wanted_order(name):
    found = settings(model(name), {1: line()}, codecs=("opus", "pcma", "g722"))
    codecs = ("g722", "pcma", "pcmu", "g729", "opus")
    order = {codec: found.get(f"account.1.codec.{codec}.priority") for codec in codecs}
    enabled = {codec for codec in codecs if found[f"account.1.codec.{codec}.enable"] == "1"}
    assert enabled == {"opus", "pcma", "g722"}
    assert {codec: order[codec] for codec in enabled} == {"opus": "1", "pcma": "2", "g722": "3"}


@pytest.mark.parametrize(
    ("name", "places"),
    [
        ("t46g", {"PCMU": 1, "PCMA": 2, "G729": 5, "G722": 6}),
        ("t46s", {"PCMU": 1, "PCMA": 2, "G729": 5, "G722": 6}),
        ("t27g", {"PCMU": 1, "PCMA": 2, "G729": 3, "G722": 4}),
        ("t23g", {"PCMU": 1, "PCMA": 2, "G729": 3, "G722": 4}),
        ("w56p", {"PCMU": 1, "PCMA": 2, "G729": 5, "G722": 6}),
        ("t28p", {"PCMU": 1, "PCMA": 2, "G729": 5, "G722": 6}),
    ],
)
def test_older_firmware_has_its_codecs_in_a_numbered_list(name, places):
    found = settings(model(name), {1: line()}, codecs=("pcma", "g729"))
    for payload, place in places.items():
        assert found[f"account.1.codec.{place}.payload_type"] == payload
        assert found[f"account.1.codec.{place}.enable"] == ("1" if payload in ("PCMA", "G729") else "0")
    assert found[f"account.1.codec.{places['PCMA']}.priority"] == "1"
    assert found[f"account.1.codec.{places['G729']}.priority"] == "2"


@pytest.mark.parametrize(("seconds", "written"), [(0, None), (1, "15"), (15, "15"), (300, "300")])
@pytest.mark.parametrize("name", ["t41s", "w60b", "w70b", "t28p"])
def test_keep_alive_is_never_below_15_seconds(name, seconds, written):
    found = settings(model(name), {1: line()}, keep_alive=seconds)
    assert found["account.1.nat.udp_update_enable"] == ("0" if written is None else "1")
    assert found.get("account.1.nat.udp_update_time") == written


@pytest.mark.parametrize("name", ["t46g", "t53w", "w60b", "w70b"])
def test_the_mark_of_speech_has_both_its_names(name):
    found = settings(model(name), {1: line()}, rtp_dscp=40)
    assert found["static.network.qos.audiotos"] == found["static.network.qos.rtptos"] == "40"


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
@pytest.mark.parametrize("name", ["t46g", "t41p", "w56p", "cp860"])
def test_a_phone_that_may_have_v80_is_told_in_both_spellings(name, transport):
    found = settings(model(name), {1: line(transport=transport)})
    for old in ("auto_provision.server.url", "auto_provision.repeat.minutes", "security.user_password[admin]"):
        assert found[old] == found[f"static.{old}"]
    assert found["account.1.transport"] == found["account.1.sip_server.1.transport_type"]
    assert "account.1.transport" not in settings(model("t53w"), {1: line()})


@pytest.mark.parametrize("name", ["t41s", "t42s", "t46s", "t48s", "t27g", "t46g", "t40g"])
def test_a_phone_that_may_have_v81_is_told_its_language_by_the_name_of_then(name):
    found = settings(model(name), {1: line()}, language="fr")
    assert found["static.lang.gui"] == found["lang.gui"] == found["static.lang.wui"] == "French"


@pytest.mark.parametrize("name", ["t46g", "w56p", "cp860"])
def test_v80_is_told_its_network_log_and_web_page_by_its_own_names(name):
    found = settings(model(name), {1: line()}, voice_vlan=20, rtp_dscp=40, syslog_server="192.0.2.5", web_access=False)
    for old in (
        "network.vlan.internet_port_enable",
        "network.vlan.internet_port_vid",
        "network.qos.signaltos",
        "network.qos.rtptos",
        "syslog.server",
        "wui.http_enable",
        "wui.https_enable",
        "auto_provision.pnp_enable",
    ):
        assert found[old] == found[f"static.{old}"]
    assert found["syslog.mode"] == found["static.syslog.enable"] == "1"
    assert settings(model(name), {1: line()})["syslog.mode"] == "0"


@pytest.mark.parametrize(
    ("name", "srtp", "code"),
    [
        *(("t41s", *pair) for pair in (("off", "0"), ("optional", "1"), ("mandatory", "2"))),
        *(("t28p", *pair) for pair in (("off", "0"), ("optional", "1"), ("mandatory", "2"))),
        # V70: 1 forces, 2 negotiates.
        *(("t38g", *pair) for pair in (("off", "0"), ("optional", "2"), ("mandatory", "1"))),
    ],
)
def test_encryption_of_speech(name, srtp, code):
    assert settings(model(name), {1: line()}, srtp=srtp)["account.1.srtp_encryption"] == code


def test_v70_has_one_server_without_a_number():
    given = line(outbound_proxy="proxy.example.net:5070")
    found = settings(model("t38g"), {1: given})
    assert (found["account.1.sip_server_host"], found["account.1.sip_server_port"]) == ("sip.example.net", "5060")
    assert (found["account.1.outbound_host"], found["account.1.outbound_port"]) == ("proxy.example.net", "5070")
    assert not any(".sip_server.1." in key for key in found)
    first = read(yealink.DIALECTS["legacy"], body(model("t38g"), {1: given})).lines[0]
    assert (first.domain, first.outbound_proxy) == ("sip.example.net", "proxy.example.net:5070")


def test_lines_of_one_server_share_it():
    of = model("w70b")
    given = {number: line(number) for number in range(1, 11)}
    found = settings(of, given)
    assert {found[f"account.{number}.sip_server.template"] for number in given} == {"1"}
    assert found["template.2.sip_server.1.address"] == ""
    assert len(read(yealink.DIALECTS["multicell"], body(of, given)).lines) == 10


def test_a_line_of_an_eleventh_server_is_left_out_and_the_others_work():
    of = model("w90dm")
    given = {number: line(number, domain=f"sip{number}.example.net") for number in range(1, 12)}
    given[12] = line(12, domain="sip1.example.net")
    lines = read(yealink.DIALECTS["multicell"], body(of, given)).lines
    assert [(one.slot, one.domain) for one in lines] == [
        *((number, f"sip{number}.example.net") for number in range(1, 11)),
        (12, "sip1.example.net"),
    ]


def test_a_detached_line_leaves_no_server_behind():
    of = model("w70b")
    emptied = settings(of, {})
    filled = settings(of, {1: line(outbound_proxy="proxy.example.net")})
    assert filled["template.1.outbound.1.address"] == "proxy.example.net"
    assert {key for key in filled if key.startswith("template")} == {
        key for key in emptied if key.startswith("template")
    }
    assert not any("example.net" in value for key, value in emptied.items() if key.startswith(("template", "account")))


@pytest.mark.parametrize(("name", "prefix"), [("t41s", "linekey."), ("t28p", "linekey.")])
def test_a_line_key_shows_its_account_s_label_by_itself(name, prefix):
    found = settings(model(name), {1: line(), 2: line(2)}, (Key(0, 2, "line", "2", "Second"),))
    assert (found[f"{prefix}1.type"], found[f"{prefix}1.line"], found[f"{prefix}1.label"]) == ("15", "1", "")
    assert found[f"{prefix}2.label"] == "Second"
    # The slot is empty now: the label goes, and a key that nobody chose is left to its user.
    found = settings(model(name), {}, (Key(0, 2, "line", "2", "Second"),))
    assert found[f"{prefix}2.label"] == ""
    assert f"{prefix}1.type" not in found


def test_keys_on_a_module():
    found = settings(model("t54w"), {1: line()}, (Key(3, 60, "blf", "100", "Reception"),))
    name = "expansion_module.3.key.60."
    assert {key: found[name + key] for key in ("type", "line", "value", "label")} == {
        "type": "16",
        "line": "1",
        "value": "100",
        "label": "Reception",
    }


def test_keys_beside_the_display_of_old_phones_are_numbered_for_themselves():
    keys = (Key(0, 6, "blf", "100"), Key(0, 7, "blf", "101"), Key(0, 16, "speed-dial", "102"))
    found = settings(model("t28p"), {1: line()}, keys)
    assert (found["linekey.6.value"], found["linekey.6.line"]) == ("100", "1")
    assert (found["memorykey.1.value"], found["memorykey.1.line"]) == ("101", "1")
    assert found["memorykey.10.value"] == "102"
    # V70 counts from 0 where a key must have an account; elsewhere 0 is any.
    found = settings(model("t38g"), {1: line()}, keys)
    assert (found["memorykey.1.line"], found["memorykey.10.line"]) == ("0", "1")


def test_a_handset_s_language_is_a_number():
    assert settings(model("w60b"), {1: line()}, language="de")["custom.handset.language"] == "2"
    assert "lang.gui" not in settings(model("w70b"), {1: line()})
    assert settings(model("t53w"), {1: line()}, language="pl")["lang.gui"] == "Polish"


def test_a_phone_that_showed_no_proof_keeps_its_network_and_its_passwords():
    for of in YEALINK.models:
        found = yealink.settings(body(of, {}, stage=0))
        assert not any(
            key.startswith(("account", "template", "voice_mail", "linekey"))
            or any(part in key for part in ("vlan", "syslog", "qos", "password", "aes_key", "wui.http", "phonebook"))
            for key in found
        )
