import csv
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning.domain.catalogue import Catalogue, catalogue
from provisioning.domain.identification import Identifier, Identity
from provisioning.domain.mac import Mac
from provisioning.domain.vendor_file import parse_vendor

TESTS = Path(__file__).parents[1]
SHIPPED = TESTS.parent / "templates" / "phones"


def shipped() -> Catalogue:
    return catalogue(
        parse_vendor(path.parent.name, path.read_text("utf-8")) for path in sorted(SHIPPED.glob("*/vendor.toml"))
    )


CATALOGUE = shipped()
SHIPPED_ONES = Identifier(CATALOGUE)
with (TESTS / "data" / "useragents.tsv").open(encoding="utf-8", newline="") as _file:
    # What real phones sent, and who wrote it down.
    AGENTS = list(csv.DictReader(_file, delimiter="\t", quoting=csv.QUOTE_NONE))
# A serial number that happens to be written with hex digits only.
SERIAL = "88019FA42805"
T46S = "Yealink SIP-T46S 66.86.0.15 00:15:65:12:34:56"
T46S_MAC = Mac("001565123456")
OTHER = Mac("001565aaaaaa")

ACME = """\
name = "Acme"
prefixes = ["001122"]
agents = ['^Acme (?P<model>[\\w-]+)/(?P<firmware>[\\d.]+)(?: (?P<mac>\\S+))?$', '^Acme(?: (?P<model>[A-Z]+))? boot$']
[sources]
guide = "a guide"

[families.desk]
syntax = "key-value"
provisioning_path = ""
[families.desk.traits]
common = ""
[[families.desk.documents]]
name = "{mac}.cfg"
template = "phone.cfg.j2"
content_type = "text/plain"
holds = "lines"
[[families.desk.documents]]
name = "{common}.cfg"
template = "common.cfg.j2"
content_type = "text/plain"
holds = "nothing"
[[families.desk.documents]]
name = "all.cfg"
template = "common.cfg.j2"
content_type = "text/plain"
holds = "nothing"

[models]
A1 = { slots = 1, common = "Acme-A1", confidence = "guide", source = "guide" }
B-2 = { slots = 2, aka = ["B2 Deluxe", "Bee"], common = "acme-b", confidence = "guide", source = "guide" }
B3 = { slots = 2, aka = ["bee"], common = "acme-b", confidence = "guide", source = "guide" }
"""
ACME_ONES = Identifier(catalogue([parse_vendor("acme", ACME)]))
ACME_MAC = Mac("001122334455")
MODELS = {model.name: model for model in catalogue([parse_vendor("acme", ACME)]).models.values()}


@pytest.mark.parametrize("row", AGENTS, ids=lambda row: row["user_agent"][:60])
def test_what_real_phones_sent_is_read(row: dict[str, str]):
    said = SHIPPED_ONES.of_agent(row["user_agent"])
    assert said == Identity(row["vendor"], row["model"], row["firmware"] or None, row["mac"] or None)
    assert said.model in CATALOGUE.models
    # Nothing that looks like a MAC was overlooked, by whoever wrote the table too.
    seen = re.search(r"\b([0-9A-Fa-f]{2}[:-]?){5}[0-9A-Fa-f]{2}\b", row["user_agent"].replace(SERIAL, ""))
    assert row["mac"] == (re.sub("[:-]", "", seen[0]).lower() if seen else "")


@pytest.mark.parametrize("vendor", sorted({row["vendor"] for row in AGENTS}))
def test_every_vendor_in_the_table_is_shipped(vendor: str):
    assert any(its.folder == vendor and its.agents for its in CATALOGUE.vendors)


@pytest.mark.parametrize(
    "agent",
    [
        "",
        "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
        "curl/8.5.0",
        "Jitsi/1.0-beta1-nightly.build.3408",
        "Unknown",
        "Yealink",
        f"x{T46S}",
        # Cut, for a longer one is nobody's.
        "Yealink SIP-T46S" + " " * 256 + "66.86.0.15 00:15:65:12:34:56",
    ],
)
def test_others_are_nobody(agent: str):
    assert SHIPPED_ONES.of_agent(agent) == Identity()


@pytest.mark.parametrize(
    ("agent", "identity"),
    [
        ("Acme A1/1.2 001122334455", Identity("acme", "acme-a1", "1.2", ACME_MAC)),
        ("Acme A1/1.2", Identity("acme", "acme-a1", "1.2", None)),
        # In whatever spelling, and by its other name.
        ("Acme SIP-b2/1", Identity("acme", "acme-b-2", "1", None)),
        ("Acme B2-DELUXE/1", Identity("acme", "acme-b-2", "1", None)),
        # Of two models that call themselves alike the first is taken.
        ("Acme bee/1", Identity("acme", "acme-b-2", "1", None)),
        # Not in the catalogue: as the phone spells it.
        ("Acme Zed-9/1", Identity("acme", "Zed-9", "1", None)),
        ("Acme A1/1.2 00:11:22:33:44:XX", Identity("acme", "acme-a1", "1.2", None)),
        ("Acme A1/1.2 serial", Identity("acme", "acme-a1", "1.2", None)),
        ("Acme boot", Identity("acme", None, None, None)),
        ("Acme BEE boot", Identity("acme", "acme-b-2", None, None)),
    ],
)
def test_what_a_user_agent_says(agent: str, identity: Identity):
    assert ACME_ONES.of_agent(agent) == identity


@given(
    st.text(max_size=300)
    | st.sampled_from(AGENTS)
    .map(lambda row: row["user_agent"])
    .flatmap(lambda agent: st.text(max_size=9).map(agent.__add__))
)
def test_whatever_calls_itself_something_is_read(agent: str):
    said = SHIPPED_ONES.of_agent(agent)
    assert said.vendor is not None or said == Identity()
    assert said.mac is None or re.fullmatch("[0-9a-f]{12}", said.mac)


@pytest.mark.parametrize(
    ("path", "identity"),
    [
        ("/001122334455.cfg", Identity("acme", mac=ACME_MAC)),
        ("/5ecre7/00-11-22-33-44-55.CFG?x=y", Identity("acme", mac=ACME_MAC)),
        ("/folder/001122334455.cfg", Identity("acme", mac=ACME_MAC)),
        # A MAC in a folder or a query is not the file's.
        ("/001122334455/x.cfg", Identity()),
        ("/x.cfg?mac=001122334455", Identity()),
        # Another vendor's MAC, or nobody's.
        ("/001565123456.cfg", Identity(mac=T46S_MAC)),
        ("/000000000000.cfg", Identity()),
        # A common file: of one model, of two, of all.
        ("/acme-A1.cfg", Identity("acme", "acme-a1")),
        ("/acme-b.cfg", Identity("acme")),
        ("/all.cfg", Identity("acme")),
        ("/", Identity()),
        ("", Identity()),
        ("/../../etc/passwd", Identity()),
    ],
)
def test_what_a_path_says(path: str, identity: Identity):
    assert ACME_ONES.identify(path=path) == identity


def test_yealinks_file_of_zeros_is_a_common_one():
    assert SHIPPED_ONES.identify(path="/y000000000000.cfg").mac is None
    assert SHIPPED_ONES.identify(path="/y000000000000.cfg").vendor == "yealink"


@pytest.mark.parametrize("path", CATALOGUE.common)
def test_a_common_file_is_its_vendors(path: str):
    model, _ = CATALOGUE.common[path]
    found = SHIPPED_ONES.identify(path=f"/{path.upper()}")
    assert (found.vendor, found.mac) == (model.vendor, None)
    asking = {one.id for one in CATALOGUE.models.values() if path in one.documents}
    assert found.model == (min(asking) if len(asking) == 1 else None)


@pytest.mark.parametrize("vendor", CATALOGUE.vendors, ids=lambda vendor: vendor.folder)
def test_a_mac_is_its_vendors(vendor):
    for prefix in vendor.prefixes:
        assert SHIPPED_ONES.identify(path=f"/{prefix}123456.cfg") == Identity(vendor.folder, mac=Mac(f"{prefix}123456"))


def test_a_certificate_goes_before_a_path_and_a_path_before_a_user_agent():
    third = Mac("001565bbbbbb")
    assert SHIPPED_ONES.identify(agent=T46S).mac == T46S_MAC
    assert SHIPPED_ONES.identify(agent=T46S, path=f"/{OTHER}.cfg").mac == OTHER
    assert SHIPPED_ONES.identify(agent=T46S, path=f"/{OTHER}.cfg", certificate=third).mac == third
    assert SHIPPED_ONES.identify(agent=T46S, certificate=third).mac == third
    assert SHIPPED_ONES.identify(agent=T46S, path="/y000000000000.cfg").mac == T46S_MAC


def test_what_only_one_thing_says_is_kept():
    found = SHIPPED_ONES.identify(agent=T46S, path=f"/{OTHER}.cfg")
    assert found == Identity("yealink", "yealink-t46s", "66.86.0.15", OTHER)
    # The phone names its model more exactly than the file that it shares.
    assert ACME_ONES.identify(agent="Acme B3/1", path="/acme-a1.cfg") == Identity("acme", "acme-b3", "1")
    assert ACME_ONES.identify(agent="Acme boot", path="/acme-a1.cfg") == Identity("acme", "acme-a1")


def test_a_phone_that_is_what_it_is_recorded_as_mismatches_in_nothing():
    model = CATALOGUE.model("yealink-T46S")
    assert SHIPPED_ONES.mismatch(T46S, T46S_MAC, model) == {}
    for silent in ("", "curl/8.5.0", "Mozilla/4.0 (compatible; snom lid 3605)"):
        assert SHIPPED_ONES.mismatch(silent, T46S_MAC, model) == {}


@pytest.mark.parametrize("row", [row for row in AGENTS if row["mac"]], ids=lambda row: row["user_agent"][:60])
def test_no_real_phone_mismatches_itself(row: dict[str, str]):
    assert SHIPPED_ONES.mismatch(row["user_agent"], Mac(row["mac"]), CATALOGUE.model(row["model"])) == {}


@pytest.mark.parametrize(
    ("agent", "mac", "model", "found"),
    [
        (T46S, OTHER, "yealink-t46s", {"mac": "001565123456"}),
        (T46S, T46S_MAC, "yealink-t54w", {"model": "yealink-t46s"}),
        (T46S, T46S_MAC, "snom-d785", {"vendor": "yealink", "model": "yealink-t46s"}),
        (T46S, OTHER, "snom-d785", {"mac": "001565123456", "vendor": "yealink", "model": "yealink-t46s"}),
        ("Yealink SIP-T99Z 1.2.3.4 00:15:65:12:34:56", T46S_MAC, "yealink-t46s", {"model": "T99Z"}),
    ],
)
def test_what_it_calls_itself_otherwise_is_named(agent: str, mac: Mac, model: str, found: dict[str, str]):
    assert SHIPPED_ONES.mismatch(agent, mac, CATALOGUE.model(model)) == found


@pytest.mark.parametrize(
    ("agent", "model", "found"),
    [
        ("Acme Bee/1", "B-2", {}),
        # It calls itself as another model does too.
        ("Acme Bee/1", "B3", {}),
        ("Acme B-2/1", "B3", {"model": "acme-b-2"}),
        ("Acme A1/1", "B3", {"model": "acme-a1"}),
        ("Acme boot", "B3", {}),
    ],
)
def test_models_that_call_themselves_alike_do_not_mismatch(agent: str, model: str, found: dict[str, str]):
    assert ACME_ONES.mismatch(agent, ACME_MAC, MODELS[model]) == found
