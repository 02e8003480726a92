"""Configurations encrypted with the phone's own key: only for a phone that has it, and never a locked-out one."""

import gzip
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from running import Api, Server
from wire import Bound, bound, get, managing, running, secret_of, until

from provisioning.simulator import decryption
from provisioning.simulator.dialects import cisco, panasonic, yealink

KEY = "static.auto_provision.aes_key.mac"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("encryption")) as its:
        yield its


@pytest.fixture
async def api(server: Server) -> AsyncIterator[Api]:
    async with managing(server) as its:
        yield its


async def choose(api: Api, phone: Bound, *, encrypted: bool | None, setting: str = "encrypt_configuration") -> None:
    answer = await api.call("PATCH", f"/v1/phones/{phone.mac}/settings", {"settings": {setting: encrypted}})
    assert answer.status == 200, answer
    (shown,) = [one for one in answer.body["settings"] if one["name"] == setting]
    assert shown["value"] == bool(encrypted)


async def told(api: Api, server: Server, phone: Bound) -> str:
    """The key, as the phone reads it; once it is recorded that the phone has it."""
    read = yealink.settings(get(server, phone.path()).body)
    await until(lambda: _sealed(server, phone))
    return read[KEY]


def _sealed(server: Server, phone: Bound) -> bool:
    return not get(server, phone.path()).body.startswith(b"#!version")


def opened(body: bytes, key: str) -> dict[str, str]:
    decryptor = Cipher(algorithms.AES(key.encode()), modes.ECB()).decryptor()
    return yealink.settings(decryptor.update(body) + decryptor.finalize())


async def test_the_key_is_told_in_the_clear_and_then_everything_is_sealed(server: Server, api: Api) -> None:
    phone = await bound(api, "001565580001")
    plain = get(server, phone.path()).body
    assert yealink.settings(plain).get(KEY, "") == ""
    await choose(api, phone, encrypted=True)
    key = await told(api, server, phone)
    sealed = get(server, phone.path())
    for secret in (phone.password, phone.secret, "account.1", key):
        assert secret.encode() not in sealed.body
    assert opened(sealed.body, key)["account.1.password"] == phone.password
    assert (await api.get(f"/v1/phones/{phone.mac}/documents/{phone.mac}.cfg")).body.startswith(b"#!version")


async def test_what_has_not_changed_stays_the_same_bytes(server: Server, api: Api) -> None:
    phone = await bound(api, "001565580002")
    await choose(api, phone, encrypted=True)
    await told(api, server, phone)
    first, second = get(server, phone.path()), get(server, phone.path())
    assert first.body == second.body
    assert get(server, phone.path(), f"If-None-Match: {first['ETag']}").status == 304
    assert get(server, phone.path(), method="HEAD")["Content-Length"] == str(len(first.body))


async def test_two_phones_have_two_keys(server: Server, api: Api) -> None:
    keys = []
    for mac in ("001565580003", "001565580004"):
        phone = await bound(api, mac)
        await choose(api, phone, encrypted=True)
        keys.append(await told(api, server, phone))
    assert keys[0] != keys[1]


async def test_a_change_is_in_the_next_fetch(server: Server, api: Api) -> None:
    phone = await bound(api, "001565580005")
    await choose(api, phone, encrypted=True)
    key = await told(api, server, phone)
    await api.line("further", phone.account)
    await api.make("/v1/lines/further/attach", {"public_ip": "127.0.0.1"})
    assert opened(get(server, phone.path()).body, key)["account.2.user_name"] == "further"


async def test_taken_back_it_learns_so_in_a_file_that_it_can_read(server: Server, api: Api) -> None:
    phone = await bound(api, "001565580006")
    await choose(api, phone, encrypted=True)
    key = await told(api, server, phone)
    await choose(api, phone, encrypted=None)
    assert KEY not in opened(get(server, phone.path()).body, key)
    await until(lambda: not _sealed(server, phone))
    assert yealink.settings(get(server, phone.path()).body)["account.1.password"] == phone.password


async def test_a_phone_that_was_reset_reads_it_again(server: Server, api: Api) -> None:
    """Its key is gone with its settings: by its new secret, and through its door, it gets what it can read."""
    phone = await bound(api, "001565580007")
    await choose(api, phone, encrypted=True)
    old = await told(api, server, phone)
    reset = await api.post(f"/v1/phones/{phone.mac}/reset", {"public_ip": "127.0.0.1"})
    # What it fetches through the door tells its new URL and its new key.
    read = yealink.settings(get(server, phone.bare()).body)
    again = replace(phone, secret=secret_of(reset.body["provisioning_url"]))
    assert read["static.auto_provision.server.url"] == reset.body["provisioning_url"]
    assert (read["account.1.password"], read[KEY] != old) == (phone.password, True)
    await until(lambda: _sealed(server, again))
    assert opened(get(server, again.path()).body, read[KEY])["account.1.password"] == phone.password


async def test_a_stranger_gets_nothing_by_it(server: Server, api: Api) -> None:
    phone = await bound(api, "001565580008")
    unknown = get(server, "/001565580999.cfg")
    await choose(api, phone, encrypted=True)
    key = await told(api, server, phone)
    bare = get(server, phone.bare())
    assert bare.shape == unknown.shape
    assert key.encode() not in bare.body


async def test_a_cisco_gets_it_as_http_content_where_that_is_chosen(server: Server, api: Api) -> None:
    """Its two keys are told in one file, and an answer names which of the two it is of: RFC 8188 section 2."""
    phone = await bound(api, "00040d580011", "cisco-cp-8841")
    path = phone.path("{mac}.xml")
    await choose(api, phone, encrypted=True)
    held = cisco.settings(get(server, path).body)
    key = held["IKM_HTTP_Encrypt_Content"]
    assert f"[--key {key}]" in held["Profile_Rule"]
    await until(lambda: not get(server, path).body.startswith(b"<?xml"))
    as_file = get(server, path)
    assert as_file["Content-Encoding"] == ""
    assert cisco.settings(gzip.decompress(decryption.openssl(as_file.body, key)))["Password_1_"] == phone.password

    await choose(api, phone, encrypted=True, setting="http_content_encryption")
    coded = get(server, path)
    assert (coded["Content-Encoding"], coded["Content-Type"]) == ("aes128gcm", "text/xml; charset=us-ascii")
    assert cisco.settings(decryption.aes128gcm(coded.body, key.encode()))["Password_1_"] == phone.password
    assert get(server, path).body == coded.body
    assert get(server, path, method="HEAD")["Content-Length"] == str(len(coded.body))
    unchanged = get(server, path, f"If-None-Match: {coded['ETag']}")
    assert (unchanged.status, unchanged.body) == (304, b"")

    await choose(api, phone, encrypted=None)
    assert get(server, path)["Content-Encoding"] == "aes128gcm"
    await until(lambda: get(server, path).body.startswith(b"<?xml"))


async def test_a_panasonic_is_told_a_file_that_is_always_encrypted(server: Server, api: Api) -> None:
    phone = await bound(api, "001267580012", "panasonic-kx-utg200")
    path, sealed = phone.path("Config{MAC}.cfg"), phone.path("Config{MAC}.enc")
    assert panasonic.utg_settings(get(server, path).body)["USR_PROV_SVR_URL"].endswith(path)
    await choose(api, phone, encrypted=True)
    held = panasonic.utg_settings(get(server, path).body)
    assert held["USR_PROV_SVR_URL"].endswith(sealed)
    opened = panasonic.utg_settings(panasonic.utg_decrypted(get(server, sealed).body, held))
    assert (opened["SIP_PASS[1]"], opened["USR_PROV_SVR_URL"]) == (phone.password, held["USR_PROV_SVR_URL"])
    # "Devices always accept a plain text file": what it asks for after a factory reset.
    assert get(server, path).body.startswith(b"<?xml")
    assert get(server, phone.bare("Config{MAC}.enc")).status == 404


async def test_a_phone_that_reads_files_only_has_no_such_setting(api: Api) -> None:
    phone = await bound(api, "001565580013")
    refused = await api.call(
        "PATCH", f"/v1/phones/{phone.mac}/settings", {"settings": {"http_content_encryption": True}}
    )
    assert (refused.status, refused.code) == (501, "unsupported-by-model")


async def test_it_is_the_operators_to_choose_and_the_models_to_have(server: Server, api: Api) -> None:
    phone = await bound(api, "001565580009")
    made = await api.make("/v1/tokens", {"name": "shop", "scope": "admin", "account": phone.account})
    its = Api(server, made["token"])
    wanted = {"settings": {"encrypt_configuration": True}}
    assert (await its.call("PATCH", f"/v1/phones/{phone.mac}/settings", wanted)).code == "forbidden"
    await its.close()
    without = await bound(api, "000413580010", "snom-d785")
    refused = await api.call("PATCH", f"/v1/phones/{without.mac}/settings", wanted)
    assert (refused.status, refused.code) == (501, "unsupported-by-model")
    assert refused.body["field"] == "encrypt_configuration"
