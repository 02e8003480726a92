import itertools
import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
from sample_phones import (
    CATALOGUE,
    CONTACTS,
    FAMILIES,
    RENDERER,
    SECRET,
    SOURCES,
    as_read,
    dialect,
    filled,
    line,
    own,
    representative,
    stage0,
    values,
)

from provisioning.domain.catalogue import catalogue
from provisioning.domain.errors import Fault
from provisioning.domain.vendor_file import parse_vendor
from provisioning.rendering.encoders import Unencodable
from provisioning.rendering.renderer import Renderer
from provisioning.simulator.dialects.base import read

MODELS = list(CATALOGUE.models.values())
REPRESENTATIVES = [representative(family) for family in FAMILIES]
# Whose phones have one outbound proxy for all lines: the main line's.
SHARED = frozenset(("cisco/enterprise",))
# Whose file is the phone's whole configuration: a slot that is not in it is empty.
WHOLE = frozenset(("cisco/enterprise",))


def goes_out(model, its):
    """Left out, and not sent in the clear instead, is what wants TLS where there is none."""
    in_the_clear = model.family.one_transport and line(1).transport != "tls"
    return its.transport in model.family.transports and not (in_the_clear and its.transport == "tls")


def family_of(model):
    return f"{model.vendor}/{model.family.name}"


def by_id(model):
    return model.id


def settings_of(model, body):
    return dialect(model).settings(body)


def lines_of(model, body):
    return read(dialect(model), body).lines


def traces(number):
    its = line(number)
    return [its.username, its.password, its.number, "Arc", "sip.example.net"]


@pytest.mark.parametrize("model", MODELS, ids=by_id)
def test_the_phone_reads_what_was_written(model):
    count = min(model.slots, 4)
    given = values(model, filled(model, count), firmware=True)
    for document in model.documents.values():
        if not document.lines:
            continue
        found = lines_of(model, RENDERER.render(document, model, given))
        assert [(one.slot, one.username, one.password) for one in found] == [
            (number, line(number).username, line(number).password)
            for number in range(1, count + 1)
            if goes_out(model, line(number))
        ]
        for one in found:
            its = line(one.slot)
            assert one.display_name in (its.display_name, its.label)
            proxy = line(1).outbound_proxy if family_of(model) in SHARED else its.outbound_proxy
            transport = line(1).transport if model.family.one_transport else its.transport
            its = replace(its, outbound_proxy=proxy, transport=transport)
            assert (one.domain, one.outbound_proxy, one.transport) == as_read(model, its)


@pytest.mark.parametrize("model", MODELS, ids=by_id)
def test_stage_0_says_nothing_of_a_vlan(model):
    """A phone may have come through one that somebody set on it."""
    given = stage0(model)
    tagged = replace(given, settings=SimpleNamespace(**{**vars(given.settings), "voice_vlan": 0x7B}))
    for document in model.documents.values():
        assert RENDERER.render(document, model, given) == RENDERER.render(document, model, tagged)
        assert b"vlan" not in RENDERER.render(document, model, given).lower()


@pytest.mark.parametrize("model", MODELS, ids=by_id)
def test_stage_0_says_nothing_of_lines_and_holds_no_secret(model):
    for document in model.documents.values():
        if document.holds == "contacts":
            continue
        body = RENDERER.render(document, model, stage0(model))
        assert SECRET.encode() not in body
        assert lines_of(model, body) == ()
        # No slot is mentioned: an empty one would erase a line that the phone has.
        emptied = settings_of(model, RENDERER.render(document, model, values(model, {})))
        filled_in = settings_of(model, RENDERER.render(document, model, values(model, filled(model, model.slots))))
        of_slots = {key for key in emptied.keys() | filled_in.keys() if emptied.get(key) != filled_in.get(key)}
        assert not of_slots & settings_of(model, body).keys()


@pytest.mark.parametrize("name", CATALOGUE.common)
def test_a_common_file_is_the_same_for_every_phone(name):
    model, document = CATALOGUE.common[name]
    # What tells the directory is rendered for the one that it was asked in.
    lines = values(model, filled(model, model.slots), firmware=True)
    body = RENDERER.render(document, model, stage0(model) if document.holds == "directory" else lines)
    for trace in (SECRET, *traces(1)):
        assert trace.encode() not in body


@pytest.mark.parametrize(
    "model", [model for model in REPRESENTATIVES if model.slots > 1 and family_of(model) not in WHOLE], ids=by_id
)
def test_a_detached_line_is_written_empty(model):
    document = own(model)
    filled_in = settings_of(model, RENDERER.render(document, model, values(model, {2: line(2)})))
    emptied = settings_of(model, RENDERER.render(document, model, values(model, {})))
    theirs = {key for key in filled_in if filled_in[key] != emptied.get(key)}
    assert theirs
    text = " ".join(emptied.values())
    for trace in traces(2):
        assert trace not in text
    # Whatever the line had put there is written again, but for a key's assignment to its own slot:
    # that is no trace of a line, phones leave the factory with it.
    assert {key for key in theirs if key not in emptied and any(t in filled_in[key] for t in traces(2))} <= {
        key for key in theirs if "linekey" in key.lower() or "fkey" in key.lower() or "key" in key.lower()
    }


@pytest.mark.parametrize("model", [model for model in REPRESENTATIVES if family_of(model) in WHOLE], ids=by_id)
def test_a_detached_line_leaves_no_trace(model):
    emptied = settings_of(model, RENDERER.render(own(model), model, values(model, {})))
    for trace in traces(2):
        assert trace not in " ".join(emptied.values())


@pytest.mark.parametrize("model", REPRESENTATIVES, ids=by_id)
def test_any_slot_may_be_empty(model):
    for number in range(1, model.slots + 1):
        found = lines_of(model, RENDERER.render(own(model), model, values(model, {number: line(1)})))
        assert [one.slot for one in found] == [number]


@pytest.mark.parametrize("model", REPRESENTATIVES, ids=by_id)
def test_proxy_port_and_transport_arrive(model):
    for proxy, transport, domain in itertools.product(
        ("", "proxy.example.net", "proxy.example.net:5070", "[2001:db8::1]:5070"),
        ("udp", "tcp", "tls"),
        ("sip.example.net", "sip.example.net:5090"),
    ):
        if transport not in model.family.transports:
            # Left out, and not sent in the clear instead.
            left_out = {1: line(1, transport=transport)}
            assert lines_of(model, RENDERER.render(own(model), model, values(model, left_out))) == ()
            continue
        given = line(1, outbound_proxy=proxy, transport=transport, domain=domain)
        found = lines_of(model, RENDERER.render(own(model), model, values(model, {1: given})))
        assert (found[0].domain, found[0].outbound_proxy, found[0].transport) == as_read(model, given)


@pytest.mark.parametrize("model", REPRESENTATIVES, ids=by_id)
def test_what_the_phone_comes_back_to(model):
    given = values(model, filled(model, 1), firmware=True)
    found = [
        read(dialect(model), RENDERER.render(document, model, given))
        for document in model.documents.values()
        if document.holds != "contacts" and not document.always_encrypted
    ]
    urls = {one.provisioning_url for one in found if one.provisioning_url}
    assert not urls or given.phone.provisioning_url in urls


@pytest.mark.parametrize("model", [model for model in REPRESENTATIVES if model.contacts], ids=by_id)
def test_the_phone_reads_its_contacts(model):
    body = RENDERER.render(model.contacts, model, values(model, {}, contacts=CONTACTS))
    found = dialect(model).contacts(body)
    assert [one.name for one in found] == [contact.display_name for contact in CONTACTS]
    for one, contact in zip(found, CONTACTS, strict=True):
        numbers = [number.removeprefix("+") for _, number in contact.numbers]
        assert [number.removeprefix("+").removeprefix("00") for number in one.numbers] == numbers


@pytest.mark.parametrize("model", REPRESENTATIVES, ids=by_id)
def test_the_same_values_give_the_same_bytes(model):
    given = values(model, filled(model, min(3, model.slots)))
    assert len({RENDERER.render(own(model), model, given) for _ in range(3)}) == 1


def test_line_keys_never_exceed_keys_or_slots():
    for model in MODELS:
        assert model.line_keys <= min(model.slots, model.keys)


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
prefixes = []
[families.desk]
syntax = "{syntax}"
provisioning_path = "{{mac}}.cfg"
[[families.desk.documents]]
name = "{{mac}}.cfg"
template = "phone.j2"
content_type = "text/plain"
holds = "lines"
[sources]
here = "here"
[models]
One = {{ slots = 2, confidence = "peer", source = "here" }}
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
        ("a = {{ phone.mac }}\nb = {{ phone.mac }}\nc = {{ phone.secret }}\n", 3, "has no attribute 'secret'"),
        ("a = 1\nb = {{ {'x': 1}[phone.mac] }}\n", 2, "is not in the table"),
        ("a = 1\nb = {{ {'x': 1}.x }}\n", 2, "'dict' object has no attribute 'x'"),
        ("a = 1\nb = {{ phone.class }}\n", 2, "has no attribute 'class'"),
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
    renderer = renderer_of("<a b='{{ settings.ntp_server }}'>{{ settings.ntp_server }}</a>", "xml")
    vendors = catalogue([parse_vendor("acme", VENDOR.format(syntax="xml"))])
    model = vendors.models["acme-one"]
    given = stage0(CATALOGUE.models["yealink-t46s"])
    given = replace(given, settings=SimpleNamespace(ntp_server="<&\"'>"))
    body = renderer.render(own(model), model, given)
    assert body == b"<a b='&lt;&amp;&#34;&#39;&gt;'>&lt;&amp;&#34;&#39;&gt;</a>"


def written(text: str) -> bytes:
    renderer = renderer_of(text)
    model = catalogue([parse_vendor("acme", VENDOR.format(syntax="key-value"))]).models["acme-one"]
    return renderer.render(model.documents["{mac}.cfg"], model, stage0(CATALOGUE.models["yealink-t46s"]))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ phone.slots }} {{ phone.slots }} {{ phone.slots + 1 }} {{ phone.slots }}", "0 0 1 0"),
        # What a call gives is asked for each time.
        ("{% set n = [3, 2] %}{{ n.pop() }} {{ n.pop() }}", "2 3"),
        ("{% set n = [3, 2] %}{{ n.pop() | number }} {{ n.pop() | number }}", "2 3"),
        # Between the two it was another.
        ("{% set n = 1 %}{{ n }}{% set n = 2 %}{{ n }}", "12"),
        ("{% for n in (1, 2) %}{{ n }}{{ n }}{% endfor %}", "1122"),
        ("{% set x %}{{ 1 }}-{{ 1 }}{% endset %}{{ x.split('-') | join }}", "1,1"),
        ("{{ {'a': {'b': 5}}['a']['b'] }}{{ (7, 8)[1] }}{{ 'abc'[1:] }}", "58bc"),
        ("{{ 'x' if none else 'y' }}{{ 'a' ~ 1 }}", "ya1"),
    ],
)
def test_a_template_means_what_it_says(text: str, expected: str):
    assert written(text).decode() == expected


def test_a_final_newline_stays():
    model = CATALOGUE.models["yealink-t46s"]
    assert RENDERER.render(own(model), model, stage0(model)).endswith(b"\n")


def test_a_template_s_settings_are_known_without_a_list():
    used = RENDERER.settings_of(CATALOGUE.models["yealink-t46s"])
    assert {"ntp_server", "time_zone", "poll_minutes", "encrypt_configuration", "register_expires"} <= used
    assert "no_such_setting" not in used
