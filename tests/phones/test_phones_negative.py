"""What a provisioning server must never do, where no other test holds it (tests/proof/negative.py)."""

import re
from collections.abc import Callable
from dataclasses import fields

import pytest
from running import Api, Server
from wire import Bound, bound, get, managing, seen

from provisioning import config, vendors
from provisioning.config import ROOT, Config

HOSTS = ("phones", "acme", "acme.example.net", "sip.example.net", "127.0.0.1", "localhost", "")


def has_lines(body: bytes, phone: Bound) -> bool:
    return phone.password.encode() in body


async def test_without_any_accepted_proof_no_lines_leave(new_server: Callable[..., Server]) -> None:
    """P1: nothing accepted is nobody served, not everybody."""
    server = new_server(PROOFS__ACCEPT="")
    async with managing(server) as api:
        phone = await bound(api, "001565f00001")
        await api.post(f"/v1/phones/{phone.mac}/door", {"public_ip": "127.0.0.1"})
        stranger = get(server, f"/{'0' * 32}{phone.bare()}")
        for path in (phone.path(), phone.bare(), f"/login{phone.bare()}"):
            reply = get(server, path)
            assert not has_lines(reply.body, phone)
            assert reply.status == 401 or reply.shape == stranger.shape


async def test_a_host_name_opens_nothing(server: Server, api: Api) -> None:
    """P2: and takes nothing away either."""
    phone = await bound(api, "001565f00002")
    account_and_mac = (*HOSTS, f"{phone.account}.example.net", phone.account, phone.mac)
    shapes = {get(server, phone.bare(), f"Host: {host}").status for host in account_and_mac}
    assert shapes <= {200, 400}
    for host in account_and_mac:
        for path in (phone.bare(), f"/login{phone.bare()}", f"http://{host or 'x'}{phone.bare()}"):
            assert not has_lines(get(server, path, f"X-Forwarded-Host: {host}").body, phone)


@pytest.mark.parametrize(
    "proxies", ["2001:db8::/32", "2001:db8::/32,fd00::/8", "::ffff:10.0.0.0/104", "10.0.0.0/8", "::2/128"]
)
async def test_an_ipv6_range_is_no_range_of_everything(new_server: Callable[..., Server], proxies: str) -> None:
    """P7: who is in no trusted range is not believed, whatever his family."""
    server = new_server(NETWORK__TRUSTED_PROXIES=proxies, LISTEN__PHONES_HTTP="[::]:0")
    port = server.ready["phones_http"].rpartition(":")[2]
    async with managing(server) as api:
        for number, (host, where) in enumerate((("127.0.0.1", "127.0.0.1"), ("::1", "::1"))):
            phone = await bound(api, f"001565f0010{number}")
            server.ready["phones_http"] = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            reply = get(server, phone.path(), "X-Forwarded-For: 2a00:1450::1")
            assert has_lines(reply.body, phone)
            assert (await seen(api, phone.mac))["public_ip"] == where


@pytest.mark.parametrize("proxies", ["2001:db8::/129", "10.0.0.0/33", "10.0.0", "all", "10.0.0.1/8"])
def test_a_range_that_is_none_refuses_the_start(new_server: Callable[..., Server], proxies: str) -> None:
    """P7: and names the setting."""
    server = new_server(start=False, NETWORK__TRUSTED_PROXIES=proxies)
    with pytest.raises(AssertionError, match="NETWORK__TRUSTED_PROXIES"):
        server.start()


@pytest.mark.parametrize("value", ["{{ 7*7 }}", "${7*7}", "<?php 1 ?>", "#{7*7}", "{% raw %}x", "$(id)", "`id`"])
async def test_a_template_expression_in_a_value_is_printed(server: Server, api: Api, value: str) -> None:
    """P13: as it was written, in both kinds of file."""
    for prefix, model, name in (("001565", "yealink-t54w", "{mac}.cfg"), ("000413", "snom-d785", "{mac}.xml")):
        mac = f"{prefix}{abs(hash(value)) % 2**24:06x}"
        phone = await bound(api, mac, model, display_name=value)
        body = get(server, phone.path(name)).body.decode()
        assert value.replace("<", "&lt;").replace(">", "&gt;") in body or value in body
        assert not re.search(r"\b49\b|uid=", body.replace("account.49", ""))


async def test_phones_behind_one_address_take_nothing_from_each_other(server: Server, api: Api) -> None:
    """P18: each is where it was, and none is asked about the others."""
    phones = [await bound(api, f"001565f0{number:04x}") for number in range(0x200, 0x220)]
    for phone in phones * 2:
        assert has_lines(get(server, phone.path(), source="127.0.0.77").body, phone)
    for phone in phones:
        assert (await seen(api, phone.mac))["public_ip"] == "127.0.0.77"
    get(server, phones[0].path(), source="127.0.0.78")
    for phone in phones[1:]:
        assert (await api.get(f"/v1/phones/{phone.mac}")).body["public_ip"] == "127.0.0.77"


def test_every_setting_is_read_somewhere() -> None:
    """P30: a setting that nobody reads promises what is not kept."""
    code = "".join(
        path.read_text("utf-8") for path in (ROOT / "provisioning").rglob("*.py") if path.name != "config.py"
    ) + (ROOT / "provisioning" / "config.py").read_text("utf-8").partition("def load(")[0].partition("@property")[2]
    unread = [
        f"{section.name}.{item.name}"
        for section in fields(Config)
        for item in fields(getattr(config.Config(), section.name))
        if not re.search(rf"\b{item.name}\b", code)
    ]
    # Four limits are read by the end of their names.
    assert [name for name in unread if not name.startswith("limits.failures_per_")] == []


async def test_no_document_with_lines_is_a_web_page(server: Server, api: Api) -> None:
    """P31: for every kind of document that a model has."""
    catalogue = vendors.load(config.Config().paths.templates, config.Config().paths.firmware).catalogue
    kinds = {(model.vendor, shape): model for model in catalogue.models.values() for shape, its in model.documents.items() if its.lines}
    for number, ((vendor, shape), model) in enumerate(sorted(kinds.items(), key=lambda item: item[0])):
        if "{mac}" not in shape:
            continue
        prefix = {"yealink": "001565", "snom": "000413"}.get(vendor, "020000")
        phone = await bound(api, f"{prefix}f1{number:04x}", model.id)
        reply = get(server, phone.path(model.documents[shape].name))
        assert has_lines(reply.body, phone) != model.documents[shape].always_encrypted, shape
        assert not reply["Content-Type"].startswith(("text/html", "application/xhtml"))
        assert not any(name.lower().startswith("access-control") for name, _ in reply.headers)
