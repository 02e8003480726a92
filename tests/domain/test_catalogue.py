import re
from pathlib import Path

import pytest

from provisioning.domain.catalogue import Catalogue, catalogue, fill_mac
from provisioning.domain.errors import Fault, Refused
from provisioning.domain.mac import Mac, find
from provisioning.domain.vendor_file import parse_vendor

SHIPPED = Path(__file__).parents[2] / "templates" / "phones"
ACME = """\
name = "Acme"
prefixes = ["001122", "aabbcc"]
agents = ['^Acme (?P<model>\\w+) (?P<firmware>[\\d.]+) (?P<mac>[0-9a-f]{12})$']

[cited]
"a.b" = "guide p. 1"

[families.desk]
syntax = "key-value"
provisioning_path = "{mac}.cfg"
provisioning_macro = "$MA.cfg"
parameter = '[a-z.]+'
module_keys = 20
tls = "1.2"

[families.desk.resync]
event = "check-sync;reboot=false"
reboot_event = "check-sync;reboot=true"

[families.desk.keys]
line = "15"
blf = "16"

[families.desk.traits]
common = ""
colour = false

[[families.desk.documents]]
name = "{common}"
template = "common.cfg.j2"
content_type = "text/plain"
holds = "nothing"

[[families.desk.documents]]
name = "{MAC}-{model}.cfg"
template = "phone.cfg.j2"
content_type = "text/plain"
holds = "lines"
encryption = "yealink-aes"

[[families.desk.documents]]
name = "book/{mac}.xml"
template = "book.xml.j2"
content_type = "text/xml"
holds = "contacts"
syntax = "xml"

[[families.desk.uploads]]
name = "{mac}-boot.log"
most_bytes = 1000
readable = false

[sources]
guide = "a guide"
peer = "a peer"

[models]
One = { slots = 1, common = "acme1.cfg", confidence = "guide", source = "guide peer" }

[models.Two]
aka = ["II"]
slots = 12
keys = 21
expansion_modules = 3
common = "acme2.cfg"
colour = true
confidence = "peer"
source = "peer"
"""


def shipped() -> Catalogue:
    return catalogue(parse_vendor(path.parent.name, path.read_text("utf-8")) for path in SHIPPED.glob("*/vendor.toml"))


def test_a_vendor():
    vendor = parse_vendor("acme", ACME)
    assert (vendor.folder, vendor.name, vendor.prefixes) == ("acme", "Acme", ("001122", "aabbcc"))
    assert vendor.cited == {"a.b": "guide p. 1"}
    assert vendor.agents[0].search("Acme Two 1.2 001122334455")["model"] == "Two"
    one, two = vendor.models
    assert (two.id, two.vendor, two.vendor_name, two.name, two.aka) == ("acme-two", "acme", "Acme", "Two", ("II",))
    assert (two.slots, two.keys, two.expansion_modules, two.confidence, two.source) == (12, 21, 3, "peer", "a peer")
    assert (two.module_keys, two.line_keys, two.tls) == (20, 12, "1.2")
    assert (two.event, two.reboot_event) == ("check-sync;reboot=false", "check-sync;reboot=true")
    assert (two.family.syntax, two.family.provisioning_path) == ("key-value", "{mac}.cfg")
    assert (two.family.provisioning_macro, two.family.keys) == ("$MA.cfg", {"line": "15", "blf": "16"})
    assert two.traits == {"model": "Two", "common": "acme2.cfg", "colour": True}
    assert two.capabilities == ("resync", "reboot", "keys", "phonebook", "parameters", "encryption", "uploads")
    assert (one.source, one.keys, one.traits["colour"]) == ("a guide; a peer", 0, False)
    assert "keys" not in one.capabilities
    assert [family.name for family in vendor.families] == ["desk"]


def test_documents_by_shape():
    _, two = parse_vendor("acme", ACME).models
    assert sorted(two.documents) == ["acme2.cfg", "book/{mac}.xml", "{mac}-two.cfg"]
    common, own = two.documents["acme2.cfg"], two.documents["{mac}-two.cfg"]
    assert (common.template, common.stage, common.lines) == ("acme/common.cfg.j2", 0, False)
    assert (own.template, own.stage, own.content_type) == ("acme/phone.cfg.j2", 1, "text/plain")
    assert own.name_for(Mac("00112233445a")) == "00112233445A-Two.cfg"
    book = two.contacts
    assert (book.syntax, book.stage, book.lines, own.syntax, own.encryption) == (
        "xml",
        1,
        False,
        "key-value",
        "yealink-aes",
    )
    assert (two.family.uploads["{mac}-boot.log"].most_bytes, own.always_encrypted) == (1000, False)


def test_a_document_whose_trait_is_empty_is_not_the_model_s():
    one, _ = parse_vendor("acme", ACME.replace('common = "acme1.cfg", ', "")).models
    assert sorted(one.documents) == ["book/{mac}.xml", "{mac}-one.cfg"]


def test_a_document_is_found_by_what_the_phone_asks_for():
    _, two = parse_vendor("acme", ACME).models
    mac, shape = find("00112233445A-Two.cfg")
    assert mac == "00112233445a"
    assert two.documents[shape].lines


def test_a_vendor_that_cannot_be_told():
    text = re.sub(r"\[families.desk.resync\]\n.*\n.*\n", "", ACME)
    model = parse_vendor("acme", text).models[0]
    assert (model.event, model.reboot_event) == (None, None)
    assert not {"resync", "reboot"} & set(model.capabilities)


def test_a_vendor_that_cannot_be_rebooted():
    model = parse_vendor("acme", ACME.replace('reboot_event = "check-sync;reboot=true"\n', "")).models[0]
    assert "resync" in model.capabilities
    assert "reboot" not in model.capabilities


def test_fill_mac_in_both_cases():
    assert fill_mac("{mac}-{MAC}", Mac("00112233445a")) == "00112233445a-00112233445A"


@pytest.mark.parametrize(
    ("before", "after", "field", "sentence"),
    [
        ('name = "Acme"\n', "", "name", "is missing"),
        ('name = "Acme"', "name = 1", "name", "no str"),
        ('"key-value"', '"yaml"', "families.desk.syntax", "known are key-value, colon"),
        ("provisioning_path", "path", "families.desk.path", "no field here"),
        ('path = "{mac}.cfg"', 'path = "../{mac}.cfg"', "families.desk.provisioning_path", "no file name"),
        ('path = "{mac}.cfg"', 'path = "{serial}.cfg"', "families.desk.provisioning_path", "{serial} is unknown"),
        ('"001122"', '"00:11:22"', "prefixes", "six lower-case hex digits"),
        ('"001122"', '"AABBCC"', "prefixes", "six lower-case hex digits"),
        ('"001122"', "1122", "prefixes", "six lower-case hex digits"),
        ("P<firmware>", "P<colour>", "agents", "there are model, firmware, mac"),
        ("(?P<model>", "(", "agents", "which part is the model"),
        ("[0-9a-f]{12})$", "[0-9a-f", "agents", "no regular expression"),
        ('"a.b" = "guide p. 1"', '"a.b" = 1', "cited.a.b", "no str"),
        ("'[a-z.]+'", "'[a-z.'", "families.desk.parameter", "no regular expression"),
        ('"check-sync;reboot=false"', '"check-sync\\r\\nEvil: 1"', "families.desk.resync.event", "no SIP Event"),
        ('"check-sync;reboot=true"', "1", "families.desk.resync.reboot_event", "no SIP Event"),
        ("reboot_event", "restart_event", "families.desk.resync.restart_event", "no field here"),
        (
            "[families.desk.resync]",
            '[families.desk.resync]\nbody = "x"',
            "families.desk.resync.content_type",
            "missing",
        ),
        ('blf = "16"', 'lamp = "16"', "families.desk.keys.lamp", "no field here"),
        ('blf = "16"', "blf = 16", "families.desk.keys.blf", "no str"),
        ("colour = false", "colour = 1.5", "families.desk.traits.colour", "a trait is text"),
        ("colour = false", "slots = 1", "families.desk.traits.slots", "a field of every model"),
        ("module_keys = 20", "password_digits = 13", "families.desk.password_digits", "it is 1 to 12"),
        ("module_keys = 20", "password_digits = 0", "families.desk.password_digits", "it is 1 to 12"),
        ("module_keys = 20", 'password_prefix = "a b"', "families.desk.password_prefix", "no letters, digits"),
        ('"{common}"', '"{size}"', "families.desk.documents.name", "{size} is unknown"),
        ('"{common}"', '"../{common}"', "families.desk.documents.name", "no file name"),
        ('"{common}"', '"a/b/c/d/{common}"', "families.desk.documents.name", "no file name"),
        ('"{MAC}-{model}.cfg"', '"{common}"', "families.desk.documents", "no MAC says whose"),
        ('holds = "lines"\nenc', 'holds = "nothing"\nenc', "families.desk.documents.encryption", "holds no lines"),
        ('holds = "lines"', 'holds = "secrets"', "families.desk.documents.holds", "known are nothing, directory"),
        ('"yealink-aes"', '"rot13"', "families.desk.documents.encryption", "known are yealink-aes"),
        ('"yealink-aes"', '"aes128gcm"', "families.desk.documents.encryption", "known are yealink-aes"),
        ("encryption =", "content_encryption =", "families.desk.documents.content_encryption", "known are aes128gcm"),
        (
            'encryption = "yealink-aes"',
            'content_encryption = "aes128gcm"',
            "families.desk.documents.content_encryption",
            "needs encryption beside it",
        ),
        (
            'encryption = "yealink-aes"',
            "always_encrypted = true",
            "families.desk.documents.always_encrypted",
            "needs encryption beside it",
        ),
        ('"common.cfg.j2"', '"../common.cfg.j2"', "families.desk.documents.template", "no template of this folder"),
        ('"common.cfg.j2"', '"common.cfg"', "families.desk.documents.template", "no template of this folder"),
        ("{mac}-boot.log", "boot.log", "families.desk.uploads.name", "does not say whose"),
        ("most_bytes = 1000", "most_bytes = 0", "families.desk.uploads.most_bytes", "it is 1 to"),
        ("readable = false\n", "", "families.desk.uploads.readable", "is missing"),
        ("slots = 12\n", "", "models.Two.slots", "is missing"),
        ("slots = 12", "slots = 0", "models.Two.slots", "a phone has 1 to"),
        ("slots = 12", "slots = 1001", "models.Two.slots", "a phone has 1 to"),
        ("slots = 12", 'slots = "12"', "models.Two.slots", "no int"),
        ("slots = 12", "slots = true", "models.Two.slots", "no int"),
        ("slots = 1,", "slots = 0,", "models.One.slots", "a phone has 1 to"),
        ("keys = 21", "keys = 2.5", "models.Two.keys", "no int"),
        ("keys = 21", "keys = 21\nline_keys = 13", "models.Two.line_keys", "it has 21 keys and 12 slots"),
        ("keys = 21", 'keys = 21\nfamily = "dect"', "models.Two.family", "known are desk"),
        ('confidence = "peer"', 'confidence = "rumour"', "models.Two.confidence", "known are guide, peer"),
        ('source = "peer"\n', "", "models.Two.source", "is missing"),
        ('source = "peer"', 'source = "rumour"', "models.Two.source", "not in [sources]"),
        ("colour = true", 'colour = "red"', "models.Two.colour", "no bool"),
        ("expansion_modules = 3", "expansion_modules = 3\nsize = 1", "models.Two.size", "no field here"),
        ("[models.Two]", '[models."a b"]', "models.a b", "no model name"),
        ("[models.Two]", '[models."../x"]', "models.../x", "no model name"),
        ("[sources]", "[families.dect]\n[sources]", "families.dect.provisioning_path", "is missing"),
    ],
)
def test_a_fault_names_file_line_and_field(before, after, field, sentence):
    assert before in ACME
    text = ACME.replace(before, after, 1)
    with pytest.raises(Fault) as fault:
        parse_vendor("acme", text)
    file, line, named, what = str(fault.value).split(":", 3)
    assert file == "acme/vendor.toml"
    assert 1 <= int(line) <= len(text.splitlines())
    assert named.strip().startswith(field)
    assert sentence in what


@pytest.mark.parametrize(
    ("before", "after", "stands_in"),
    [
        ('"key-value"', '"yaml"', "syntax ="),
        ("slots = 12", "slots = 0", "slots = 0"),
        ("slots = 1,", "slots = 0,", "One = {"),
        ('confidence = "peer"', 'confidence = "rumour"', 'confidence = "rumour"'),
        ("slots = 12\n", "", "[models.Two]"),
        ("reboot_event", "restart_event", "restart_event"),
    ],
)
def test_the_line_is_where_the_field_stands(before, after, stands_in):
    text = ACME.replace(before, after, 1)
    with pytest.raises(Fault) as fault:
        parse_vendor("acme", text)
    line = int(str(fault.value).split(":")[1])
    assert stands_in in text.splitlines()[line - 1]


def test_broken_toml_names_file_and_line():
    with pytest.raises(Fault, match=r"^acme/vendor\.toml: .*line 2"):
        parse_vendor("acme", 'name = "Acme"\nsyntax = \n')


def test_a_vendor_without_models():
    with pytest.raises(Fault, match="models: names no model"):
        parse_vendor("acme", ACME[: ACME.index("[models]")] + "[models]\n")


def test_models_are_found_in_any_case():
    found = catalogue([parse_vendor("acme", ACME)])
    assert found.model("ACME-Two") is found.model("acme-II") is found.models["acme-two"]
    with pytest.raises(Refused, match="No model is called 'acme-three'") as refusal:
        found.model("acme-three")
    assert refusal.value.code == "model-unknown"


def test_common_files_and_prefixes():
    found = catalogue([parse_vendor("acme", ACME)])
    assert {name: model.name for name, (model, _) in found.common.items()} == {"acme1.cfg": "One", "acme2.cfg": "Two"}
    assert found.of_prefix(Mac("aabbcc000000")).folder == "acme"
    assert found.of_prefix(Mac("000000000000")) is None


def test_two_vendors_cannot_claim_one_prefix():
    other = ACME.replace("acme1", "zeta1").replace("acme2", "zeta2").replace('"001122", ', "")
    with pytest.raises(Fault, match=r"^zeta/vendor\.toml: prefixes: aabbcc is also claimed by acme"):
        catalogue([parse_vendor("zeta", other), parse_vendor("acme", ACME)])


def test_two_vendors_cannot_claim_one_common_file():
    other = ACME.replace('"001122", "aabbcc"', "").replace("acme2", "ACME1")
    with pytest.raises(Fault, match=r"^zeta/vendor\.toml: documents: 'acme1\.cfg' is also a common file of acme"):
        catalogue([parse_vendor("zeta", other), parse_vendor("acme", ACME)])


def test_two_models_of_one_vendor_may_share_a_common_file():
    found = catalogue([parse_vendor("acme", ACME.replace("acme2", "acme1"))])
    assert list(found.common) == ["acme1.cfg"]


def test_the_order_in_which_vendors_are_read_does_not_matter():
    other = ACME.replace("acme1", "zeta1").replace("acme2", "zeta2").replace('"001122", "aabbcc"', "")
    texts = [("acme", ACME), ("zeta", other)]
    forth, back = (catalogue(parse_vendor(*text) for text in order) for order in (texts, texts[::-1]))
    assert forth == back


def test_an_operator_s_own_figure_of_slots():
    found = catalogue([parse_vendor("acme", ACME)], {"ACME-Two": 3})
    assert (found.model("acme-two").slots, found.model("acme-two").confidence) == (3, "operator")
    assert found.model("acme-one").slots == 1
    with pytest.raises(Fault, match=r"^\[models\] slots: no model is called 'acme-three'"):
        catalogue([parse_vendor("acme", ACME)], {"acme-three": 3})


def test_the_shipped_vendors():
    found = shipped()
    slots = {
        name: found.model(name).slots
        for name in ("yealink-T46S", "yealink-T53W", "yealink-CP920", "snom-D785", "snom-D120")
    }
    assert slots == {"yealink-T46S": 16, "yealink-T53W": 12, "yealink-CP920": 1, "snom-D785": 12, "snom-D120": 2}
    assert not {"resync", "reboot"} & set(found.model("linphone-desktop").capabilities)
    assert {"resync", "reboot", "keys", "certificate"} <= set(found.model("yealink-t46s").capabilities)


@pytest.mark.parametrize(
    ("name", "model", "lines"),
    [
        ("001565a1b2c3.cfg", "yealink-t46s", True),
        ("000413A1B2C3.xml", "snom-d785", True),
        ("snomD785-000413A1B2C3.htm", "snom-d785", True),
        ("02000000a1b2.xml", "linphone-desktop", True),
        ("y000000000066.cfg", "yealink-t46s", False),
        ("snomD785.htm", "snom-d785", False),
    ],
)
def test_what_shipped_phones_ask_for(name, model, lines):
    found = shipped()
    # Common names first: mac.find() sees a MAC in y000000000066.cfg.
    shape = name.lower() if name.lower() in found.common else find(name)[1]
    assert found.model(model).documents[shape].lines is lines


def test_boot_files_are_not_served_so_that_the_phone_goes_on():
    found = shipped()
    assert not [shape for model in found.models.values() for shape in model.documents if shape.endswith(".boot")]
