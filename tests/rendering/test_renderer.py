import itertools
import re
from dataclasses import replace

import pytest
from sample_phones import CATALOGUE, RENDERER, SECRET, SOURCES, filled, line, own, shipped_catalogue, stage0, values

from provisioning.domain.catalogue import catalogue, parse_vendor
from provisioning.domain.errors import Fault
from provisioning.rendering.encoders import Unencodable
from provisioning.rendering.renderer import Renderer
from provisioning.simulator.files import read, read_settings

MODELS = list(CATALOGUE.models.values())
ONE_OF_EACH = [CATALOGUE.models[name] for name in ("yealink-t46s", "snom-d785", "linphone-desktop")]
# Where a line may stand in a document, in any vendor's words.
OF_A_LINE = re.compile(r"account\.|user_|linekey|fkey|auth_info|proxy_|reg_", re.IGNORECASE)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.id)
def test_the_phone_reads_what_was_written(model):
    count = min(model.slots, 4)
    for document in model.documents.values():
        if not document.lines:
            continue
        given = values(model, filled(model, count), firmware=True)
        found = read(model.vendor, RENDERER.render(document, model, given))
        assert found.provisioning_url == given.phone.provisioning_url
        assert [(one.slot, one.username, one.password, one.domain) for one in found.lines] == [
            (number, line(number).username, line(number).password, "sip.example.net") for number in range(1, count + 1)
        ]
        for one in found.lines:
            assert (one.display_name, one.outbound_proxy, one.transport) == (
                line(one.slot).display_name,
                line(one.slot).outbound_proxy,
                line(one.slot).transport,
            )
        if model.vendor != "linphone":
            assert found.firmware_url == given.firmware.url
            assert found.poll_minutes == 1440


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.id)
def test_stage_0_says_nothing_of_lines_and_holds_no_secret(model):
    for document in model.documents.values():
        body = RENDERER.render(document, model, stage0(model))
        assert not [key for key in read_settings(model.vendor, body) if OF_A_LINE.search(key)]
        assert OF_A_LINE.search(body.decode()) is None
        assert SECRET.encode() not in body
        assert read(model.vendor, body).lines == ()


@pytest.mark.parametrize("name", CATALOGUE.common)
def test_a_common_file_is_the_same_for_every_phone(name):
    model, document = CATALOGUE.common[name]
    full = values(model, filled(model, model.slots), firmware=True)
    body = RENDERER.render(document, model, full)
    assert body == RENDERER.render(document, model, stage0(model))
    assert OF_A_LINE.search(body.decode()) is None
    assert b"phones.example.net" not in body


@pytest.mark.parametrize("model", ONE_OF_EACH, ids=lambda model: model.id)
def test_a_detached_line_is_written_empty(model):
    document = own(model)
    filled_in = read_settings(model.vendor, RENDERER.render(document, model, values(model, {2: line(2)})))
    emptied = read_settings(model.vendor, RENDERER.render(document, model, values(model, {})))
    theirs = {key for key in filled_in if filled_in[key] != emptied.get(key)}
    assert theirs
    # What the line had put there, and nothing of the line is left. A key's assignment to its own
    # slot is no trace of a line: phones leave the factory with it.
    assert {key for key in theirs if key not in emptied} <= {"linekey.2.type", "linekey.2.line"}
    text = " ".join(emptied.values())
    for trace in (line(2).username, line(2).password, line(2).display_name, line(2).number, "sip.example.net", "5070"):
        assert trace not in text


@pytest.mark.parametrize("model", ONE_OF_EACH, ids=lambda model: model.id)
def test_any_slot_may_be_empty(model):
    for number in range(1, model.slots + 1):
        found = read(model.vendor, RENDERER.render(own(model), model, values(model, {number: line(1)})))
        assert [one.slot for one in found.lines] == [number]


@pytest.mark.parametrize("model", ONE_OF_EACH, ids=lambda model: model.id)
def test_proxy_port_and_transport_arrive(model):
    for proxy, transport, domain in itertools.product(
        ("", "proxy.example.net", "proxy.example.net:5070", "[2001:db8::1]:5070"),
        ("udp", "tcp", "tls"),
        ("sip.example.net", "sip.example.net:5090"),
    ):
        given = line(1, outbound_proxy=proxy, transport=transport, domain=domain)
        found = read(model.vendor, RENDERER.render(own(model), model, values(model, {1: given})))
        assert (found.lines[0].outbound_proxy, found.lines[0].transport, found.lines[0].domain) == (
            proxy,
            transport,
            domain,
        )


@pytest.mark.parametrize("model", ONE_OF_EACH, ids=lambda model: model.id)
def test_the_same_values_give_the_same_bytes(model):
    given = values(model, filled(model, 3))
    again = Renderer(shipped_catalogue(), dict(SOURCES))
    assert len({renderer.render(own(model), model, given) for renderer in (RENDERER, again) for _ in range(3)}) == 1


def test_line_keys_never_exceed_keys_or_slots():
    for model in MODELS:
        if "line_keys" in model.traits:
            assert int(model.traits["line_keys"]) == min(model.slots, model.keys)


def test_yealink_line_keys_go_to_the_filled_slots_only():
    model = CATALOGUE.models["yealink-t46s"]
    settings = read_settings("yealink", RENDERER.render(own(model), model, values(model, {3: line(3)})))
    assert {key: value for key, value in settings.items() if key.startswith("linekey")} == {
        "linekey.3.type": "15",
        "linekey.3.line": "3",
    }
    conference = CATALOGUE.models["yealink-cp920"]
    body = RENDERER.render(own(conference), conference, values(conference, {1: line(1)}))
    assert b"linekey" not in body


def test_a_value_that_cannot_be_written_names_template_and_line_and_not_the_value():
    model = CATALOGUE.models["yealink-t46s"]
    wrong = replace(line(1), password="hunter2\nevil = 1")
    with pytest.raises(
        Unencodable, match=r"^yealink/phone\.cfg\.j2:\d+: a value holds a line feed \(U\+000A\)"
    ) as refusal:
        RENDERER.render(own(model), model, values(model, {1: wrong}))
    named = int(str(refusal.value).split(":")[1])
    assert ".password" in SOURCES["yealink/phone.cfg.j2"].splitlines()[named - 1]
    assert "hunter2" not in str(refusal.value)
    assert refusal.value.__cause__ is None


VENDOR = """\
name = "Acme"
syntax = "{syntax}"
provisioning_path = "{{mac}}.cfg"
prefixes = []
traits = ["common"]
[[documents]]
name = "{{mac}}.cfg"
template = "phone.j2"
content_type = "text/plain"
lines = true
[models.One]
slots = 2
keys = 0
expansion_modules = 0
common = "x"
confidence = "peer"
source = "here"
"""


def renderer_of(text, syntax="key-value"):
    vendors = catalogue([parse_vendor("acme", VENDOR.format(syntax=syntax))])
    return Renderer(vendors, {"acme/phone.j2": text} if text is not None else {})


@pytest.mark.parametrize(
    ("text", "place", "what"),
    [
        ("a = 1\n{% if phone %}\n", 2, "Unexpected end of template"),
        ("a = 1\n{{ phone.mac | upper }}\n", 2, "No filter named 'upper'"),
        ("a = 1\nb = {{ phone.mac | safe }}\n", 2, "No filter named 'safe'"),
        ("a = 1\n\nb = {{ account.id }}\n", 3, "'account' is not given to templates"),
        ("a = {{ range(3) }}\n", 1, "'range' is not given"),
        ("a = 1\nb = {{ phone.secret }}\n", 2, "has no attribute 'secret'"),
        ("a = {{ model.colour }}\n", 1, "has no attribute 'colour'"),
        ("a = 1\n{% for slot in slots %}\nb = {{ slot.line.username }}\n{% endfor %}\n", 3, "None"),
        ("a = 1\n{% for slot in slots %}\nb = {{ slot.line }}\n{% endfor %}\n", 3, "neither text nor a number"),
        ("a = 1\nb = {{ firmware.url }}\n", 2, "None"),
        ("a = {{ slots }}\n", 1, "a tuple is neither text"),
        ("a = {{ 1 / 2 }}\n", 1, "a float is neither text"),
        ("a = {{ phone.mac == 'x' }}\n", 1, "a bool is neither text"),
        ("a = 1\n{% include 'acme/other.j2' %}\n", 2, "takes nothing from another file"),
        ("a = 1\n{% import 'acme/other.j2' as o %}\n", 2, "takes nothing from another file"),
        ("a = 1\n{% extends 'acme/other.j2' %}\n", 2, "takes nothing from another file"),
        ("a = 1\n{% autoescape false %}{{ phone.mac }}{% endautoescape %}\n", 2, "neither switch escaping"),
        ("a = 1\n{% filter sip_quoted %}x{% endfilter %}\n", 2, "neither switch escaping nor filter"),
        ("a = 1\n{% if slots %}{% set b = 1 %}{% endif %}\nb = {{ b }}\n", 3, "'b' is undefined"),
    ],
)
@pytest.mark.parametrize("syntax", ["key-value", "xml"])
def test_a_fault_in_a_template_names_it_and_the_line(text, place, what, syntax):
    with pytest.raises(Fault, match=rf"^acme/phone\.j2:{place}: .*{re.escape(what)}"):
        renderer_of(text, syntax)


def test_a_template_that_is_not_there_is_named():
    with pytest.raises(Fault, match=r"^acme/phone\.j2: is named by acme/vendor\.toml"):
        renderer_of(None)


def test_a_macro_cannot_smuggle_text_past_the_encoder():
    with pytest.raises(Fault, match="a Markup is neither text nor a number"):
        renderer_of("{% macro m(x) %}<b>{{ x }}</b>{% endmacro %}{{ m(phone.mac) }}", "xml")


def test_xml_is_escaped_without_a_filter():
    renderer = renderer_of("<a b='{{ operator.ntp_server }}'>{{ operator.ntp_server }}</a>", "xml")
    vendors = catalogue([parse_vendor("acme", VENDOR.format(syntax="xml"))])
    model = vendors.models["acme-one"]
    given = stage0(CATALOGUE.models["yealink-t46s"])
    given = replace(given, operator=replace(given.operator, ntp_server="<&\"'>"))
    body = renderer.render(own(model), model, given)
    assert body == b"<a b='&lt;&amp;&#34;&#39;&gt;'>&lt;&amp;&#34;&#39;&gt;</a>"


def test_a_final_newline_stays():
    model = CATALOGUE.models["yealink-t46s"]
    assert RENDERER.render(own(model), model, stage0(model)).endswith(b"ntp.example.net\n")
