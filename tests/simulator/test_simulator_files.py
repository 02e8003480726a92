import pytest

from provisioning.simulator import dialects
from provisioning.simulator.dialects import base


def read(vendor, body):
    return base.read(dialects.of(vendor), body)


def read_settings(vendor, body):
    return dialects.of(vendor).settings(body)


YEALINK = b"""#!version:1.0.0.1
# a comment
static.auto_provision.server.url = https://phones.example.net/x/
static.auto_provision.repeat.enable = 1
static.auto_provision.repeat.minutes = 60
account.1.enable = 1
account.1.user_name = 100
account.1.password = a = b # c
account.1.sip_server.1.address = sip.example.net
account.1.sip_server.1.port = 5060
account.2.enable = 0
account.2.user_name = 200
account.3.enable = 1
account.3.user_name = %NULL%
"""


def test_yealink_reads_active_accounts_only():
    found = read("yealink", YEALINK)
    (line,) = found.lines
    assert (line.slot, line.username, line.password, line.domain) == (1, "100", "a = b # c", "sip.example.net")
    assert (line.transport, line.outbound_proxy, line.display_name) == ("udp", "", "")
    assert (found.provisioning_url, found.firmware_url, found.poll_minutes) == (
        "https://phones.example.net/x/",
        None,
        60,
    )


def test_yealink_polls_only_when_told():
    assert read("yealink", YEALINK.replace(b"repeat.enable = 1", b"repeat.enable = 0")).poll_minutes is None


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "first line"),
        (b"\xef\xbb\xbf#!version:1.0.0.1\n", "first line"),
        (b"# a comment\n#!version:1.0.0.1\n", "first line"),
        (b"#!version:1.0.0.1\nhello\n", "line 2 is no parameter"),
        (b"#!version:1.0.0.1\n= x\n", "line 2 is no parameter"),
        (b"#!version:1.0.0.1\na b = x\n", "line 2 is no parameter"),
        (b"#!version:1.0.0.1\na = 1\na = 1\n", "a is set twice"),
        (b"#!version:1.0.0.1\na = \xff\n", "utf-8"),
        (
            b"#!version:1.0.0.1\naccount.1.enable = 1\naccount.1.user_name = 1\naccount.1.sip_server.1.transport_type = 9\n",
            "transport_type",
        ),
        (
            b"#!version:1.0.0.1\nstatic.auto_provision.repeat.enable = 1\nstatic.auto_provision.repeat.minutes = x\n",
            "no number",
        ),
    ],
)
def test_yealink_accepts_nothing_else(body, sentence):
    with pytest.raises(ValueError, match=sentence):
        read("yealink", body)


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r", "\x0b", "\x0c", "\x85", "\u2028"])
def test_yealink_ends_a_line_wherever_a_reader_might(line_end):
    body = f"#!version:1.0.0.1\na = 1{line_end}b = 2\n".encode()
    assert read_settings("yealink", body) == {"a": "1", "b": "2"}


def test_snom():
    found = read(
        "snom",
        b"""<?xml version="1.0" encoding="utf-8"?><settings><phone-settings e="2">
        <setting_server perm="R">https://x/y.xml</setting_server><settings_refresh_timer perm="R">3600</settings_refresh_timer>
        <firmware perm="">https://x/fw.swu</firmware>
        <user_active idx="2" perm="R">on</user_active><user_name idx="2" perm="R">100</user_name>
        <user_host idx="2" perm="R">sip.example.net</user_host><user_pass idx="2" perm="R">&lt;&amp;</user_pass>
        <user_outbound idx="2" perm="R">sip.example.net;transport=tls</user_outbound>
        <user_active idx="1" perm="R">off</user_active><user_name idx="1" perm="R">old</user_name>
        </phone-settings><functionKeys e="2"><fkey idx="0" context="1" label="L" perm="">line</fkey></functionKeys></settings>""",
    )
    (line,) = found.lines
    assert (line.slot, line.username, line.password, line.transport, line.outbound_proxy) == (2, "100", "<&", "tls", "")
    assert (found.provisioning_url, found.firmware_url, found.poll_minutes) == (
        "https://x/y.xml",
        "https://x/fw.swu",
        60,
    )
    assert found.settings["fkey[0].label"] == "L"


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "well-formed"),
        (b"<settings><phone-settings></settings>", "well-formed"),
        (b"<other/>", "root is <other>"),
        (b"<settings><evil/></settings>", "no section"),
        (b"<settings><phone-settings><a><b/></a></phone-settings></settings>", "holds an element"),
        (b'<settings><phone-settings><a perm="X"/></phone-settings></settings>', "unknown perm"),
        (b"<settings><phone-settings><a/><a/></phone-settings></settings>", "a is set twice"),
        (b'<settings><phone-settings><a idx="1"/><a idx="1"/></phone-settings></settings>', "set twice"),
        (b'<!DOCTYPE s [<!ENTITY e "x">]><settings/>', "document type"),
    ],
)
def test_snom_accepts_nothing_else(body, sentence):
    with pytest.raises(ValueError, match=sentence):
        read("snom", body)


def config(inner):
    return f'<config xmlns="http://www.linphone.org/xsds/lpconfig.xsd">{inner}</config>'.encode()


PROXY = (
    '<section name="proxy_{0}"><entry name="reg_proxy" overwrite="true">{1}</entry>'
    '<entry name="reg_identity" overwrite="true">{2}</entry>'
    '<entry name="reg_sendregister" overwrite="true">{3}</entry></section>'
)


def test_linphone():
    found = read(
        "linphone",
        config(
            '<section name="misc"><entry name="config-uri" overwrite="true">https://x/y.xml</entry></section>'
            '<section name="auth_info_1"><entry name="passwd" overwrite="true">p&amp;w</entry></section>'
            + PROXY.format(0, "", "", 0)
            + PROXY.format(
                1,
                "&lt;sip:proxy.example.net:5070;transport=tcp&gt;",
                r'"Zoé \"Z\" \\" &lt;sip:100@sip.example.net&gt;',
                1,
            )
            + PROXY.format(2, "&lt;sip:sip.example.net&gt;", "&lt;sip:200@sip.example.net&gt;", 0)
        ),
    )
    (line,) = found.lines
    assert (line.slot, line.username, line.password, line.domain) == (2, "100", "p&w", "sip.example.net")
    assert (line.outbound_proxy, line.transport, line.display_name) == ("proxy.example.net:5070", "tcp", 'Zoé "Z" \\')
    assert (found.provisioning_url, found.firmware_url, found.poll_minutes) == ("https://x/y.xml", None, None)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"<config/>", "root"),
        (config("<entry/>"), "named sections"),
        (config("<section/>"), "named sections"),
        (config('<section name="a"><entry/></section>'), "named entries"),
        (config('<section name="a"><entry name="b"/><entry name="b"/></section>'), "a/b is set twice"),
        (config(PROXY.format(0, "nonsense", "nonsense", 1)), "proxy_0 names no SIP address"),
    ],
)
def test_linphone_accepts_nothing_else(body, sentence):
    with pytest.raises(ValueError, match=sentence):
        read("linphone", body)


def test_a_password_is_not_printed():
    assert "a = b # c" not in repr(read("yealink", YEALINK))
