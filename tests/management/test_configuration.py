"""config.toml and the environment: what is wrong is named, before anything listens."""

import re
import subprocess
import sys
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path

import pytest
from running import Server

from provisioning import config
from provisioning.config import Config, Endpoint
from provisioning.domain.errors import Fault


def loaded(tmp_path: Path, text: str, **environment: str) -> Config:
    path = tmp_path / "config.toml"
    path.write_text(text, "utf-8")
    return config.load(path, {f"PROVISIONING__{name}": value for name, value in environment.items()})


def fault(tmp_path: Path, text: str, **environment: str) -> str:
    with pytest.raises(Fault) as caught:
        loaded(tmp_path, text, **environment)
    return str(caught.value)


def test_nothing_configured_is_the_defaults():
    assert config.load(None, {}) == Config()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[listem]\nmanagement = '127.0.0.1:1'", r"config.toml: \[listem\] management: there is no section \[listem\]"),
        ("[listen]\nmanagment = '127.0.0.1:1'", r"\[listen\] managment: there is no such setting; \[listen\] has"),
        ("[listem]", r"listem: there is no section \[listem\]"),
        ("dir = 'var'", "dir: is no section"),
        ("[data\n", "config.toml: "),
        ("[listen]\nmanagement = 8081", r"\[listen\] management: is no text"),
        ("[listen]\nmanagement = '8081'", r"\[listen\] management: is '8081'; it is host:port"),
        ("[listen]\nmanagement = '127.0.0.1:99999'", "it is host:port"),
        ("[listen]\nmanagement = ':8081'", "it is host:port"),
        ("[listen]\nmanagement = '127.0.0.1:\u0663'", "it is host:port"),
        ("[listen]\nphones_http = ''\nphones_https = ''", r"\[listen\] phones_https: and the phones' other listeners are all empty"),
        ("[network]\nprivate_addresses = 1", r"\[network\] private_addresses: is 1; it is true or false"),
        ("[network]\nprivate_addresses = 'yes'", "it is true or false"),
        ("[network]\ntrusted_proxies = ['10.0.0.1/8']", r"\[network\] trusted_proxies: holds no network"),
        ("[network]\ntrusted_proxies = [10]", "trusted_proxies: holds no network"),
        ("[network]\ntrusted_proxies = 10", "it is a list of networks"),
        ("[network]\nfreshness = '1h'", r"\[network\] freshness: is '1h'; it is a number"),
        ("[network]\nfreshness = true", "it is a number"),
        ("[network]\nfreshness = 0", r"\[network\] freshness: is 0.0; it is above 0"),
        ("[resync]\ndeadline = -1", r"\[resync\] deadline: is -1.0; it is above 0"),
        ("[resync]\ndeadline = nan", r"\[resync\] deadline"),
        ("[resync]\ndeadline = inf", r"\[resync\] deadline"),
        ("[phones]\ndoor = inf", r"\[phones\] door"),
        ("[resync]\nsender = 'me'", r"\[resync\] sender: .* SIP address"),
        ("[registrar]\nlocator = 'http://x'", r"\[registrar\] locator"),
        ("[registrar]\npassword_hook = 'ftp://x'", r"\[registrar\] password_hook"),
        ("[server]\nworkers = 1.5", r"\[server\] workers: is 1.5; it is a whole number"),
        ("[server]\nworkers = true", "it is a whole number"),
        ("[server]\nworkers = 0", r"\[server\] workers: is 0; it is above 0"),
        ("[server]\nworkers = 65", r"\[server\] workers: is above 64"),
        ("[database]\nurl = 'postgresql://x'", r"\[database\] url: .* sqlite:///<path>"),
        ("[tls]\ncertificate = 'a.pem'", r"\[tls\] certificate: needs \[tls\] key"),
        ("[tls]\ncertificate = '/nowhere.pem'\nkey = '/nowhere.key'", "/nowhere.pem is no file"),
        ("[phones]\nurl = 'phones.example.net'", r"\[phones\] url: .* such as https://"),
        ("[phones]\nurl = 'https://a/?b'", r"\[phones\] url"),
        ("[management]\nfailures = 0", r"\[management\] failures: is 0; it is above 0"),
        ("[management]\nsession_hours = 9000", r"\[management\] session_hours: is above 8760"),
        ("[log]\nlevel = 'loud'", r"\[log\] level: is debug, info, warning or error"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, text: str, told: str):
    assert re.search(told, fault(tmp_path, text)), fault(tmp_path, text)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("LISTEN__MANAGMENT", "127.0.0.1:0", "PROVISIONING__LISTEN__MANAGMENT: there is no such setting"),
        ("LISTEM__MANAGEMENT", "127.0.0.1:0", "PROVISIONING__LISTEM__MANAGEMENT: there is no section [listem]"),
        ("DATA", "x", "PROVISIONING__DATA: there is no such setting"),
        ("SERVER__WORKERS", "many", "PROVISIONING__SERVER__WORKERS: is 'many'; it is a whole number"),
        ("NETWORK__PRIVATE_ADDRESSES", "1", "PROVISIONING__NETWORK__PRIVATE_ADDRESSES: is '1'; it is true or false"),
        ("NETWORK__FRESHNESS", "", "PROVISIONING__NETWORK__FRESHNESS: is ''; it is a number"),
    ],
)
def test_a_variable_that_is_wrong_is_named(tmp_path: Path, name: str, value: str, told: str):
    assert told in fault(tmp_path, "", **{name: value})


def test_the_environment_has_the_last_word(tmp_path: Path):
    its = loaded(tmp_path, "[listen]\nmanagement = '127.0.0.1:1'\n[resync]\ndeadline = 5", LISTEN__MANAGEMENT="[::1]:2")
    assert its.listen.management == Endpoint("::1", 2)
    assert str(its.listen.management) == "[::1]:2"
    assert its.resync.deadline == 5.0


@pytest.mark.parametrize("text", ["10.0.0.0/8, 2001:db8::/32", '["10.0.0.0/8", "2001:db8::/32"]'])
def test_networks_are_listed_in_a_variable_too(tmp_path: Path, text: str):
    its = loaded(tmp_path, "", NETWORK__TRUSTED_PROXIES=text)
    assert its.network.trusted_proxies == (ip_network("10.0.0.0/8"), ip_network("2001:db8::/32"))


def test_a_listener_is_turned_off_by_an_empty_text(tmp_path: Path):
    assert loaded(tmp_path, "[listen]\nmanagement = ''").listen.management is None


def test_other_variables_are_nobodys_business():
    assert config.load(None, {"PATH": "/bin", "PROVISIONING": "x"}) == Config()


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None):
    path = tmp_path / "config.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(Fault, match=r"config.toml: cannot be read"):
        config.load(path, {})


def test_a_secret_setting_is_not_shown():
    its = config.load(
        None, {"PROVISIONING__RESYNC__PASSWORD": "hush-1", "PROVISIONING__REGISTRAR__PASSWORD_TOKEN": "hush-2"}
    )
    assert its.resync.password == "hush-1"
    assert "hush" not in repr(its)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("LISTEN__MANAGEMENT", "8081"),
        ("LISTEM__MANAGEMENT", "127.0.0.1:0"),
        ("NETWORK__FRESHNES", "1"),
        ("RESYNC__PROXY", "carrier-pigeon:x"),
        ("PATHS__TEMPLATES", "/nowhere"),
        ("DATABASE__URL", "mysql://x"),
    ],
)
def test_a_server_with_a_mistake_does_not_start(new_server: Callable[..., Server], setting: str, value: str) -> None:
    server = new_server(start=False, **{setting: value})
    done = server.command("serve")
    assert done.returncode == 1
    key = setting.rpartition("__")[2].lower()
    assert key in done.stderr.lower() or value in done.stderr
    assert "Traceback" not in done.stderr
    assert not (server.data / "ready.json").exists()


def test_a_file_with_a_mistake_does_not_start_either(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[listen]\nmanagment = '127.0.0.1:0'\n")
    done = subprocess.run(
        [sys.executable, "-m", "provisioning", "serve"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert "config.toml: [listen] managment: there is no such setting" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["config.toml"]


@pytest.mark.parametrize("given", ["pool.ntp.org\nstatic.security.user_password = x", "", "a b", "x" * 254])
def test_a_time_server_that_no_document_could_carry_is_refused(given: str) -> None:
    with pytest.raises(Fault, match=r"\[phones\] ntp_server"):
        config.load(None, {"PROVISIONING__PHONES__NTP_SERVER": given})


@pytest.mark.parametrize("given", ["https://a.example/\nx", "https://a.example/?q", "ftp://a.example", "https://é.example"])
def test_a_url_that_no_document_could_carry_is_refused(given: str) -> None:
    with pytest.raises(Fault, match=r"\[phones\] url"):
        config.load(None, {"PROVISIONING__PHONES__URL": given})
