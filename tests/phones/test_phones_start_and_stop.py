"""What refuses a start, and that neither a reload, a stop nor a killed process costs a phone its answer."""

import asyncio
import contextlib
import hashlib
import json
import os
import shutil
import signal
import socket
import sqlite3
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from running import Server
from wire import bound, change, closed_within, connect, get, managing, read_reply, request, templates_copy, text, until

from provisioning import tls, vendors
from provisioning.domain.errors import Fault

Servers = Callable[..., Server]


def refused(server: Server) -> str:
    """What the start was refused with."""
    done = server.command("serve")
    assert done.returncode == 1, done
    assert "Traceback" not in done.stderr
    assert not (server.data / "ready.json").exists()
    return done.stderr


def children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


# Starting


@pytest.mark.parametrize(
    ("file", "old", "new", "told"),
    [
        ("yealink/phone.cfg.j2", "{{ line.username }}", "{{ line.user }}", ("yealink/phone.cfg.j2:",)),
        ("snom/phone.xml.j2", "{% endfor %}", "{% endfro %}", ("snom/phone.xml.j2:", "endfro")),
        ("yealink/common.cfg.j2", "settings.ntp_server", "operator.x", ("yealink/common.cfg.j2:", "operator")),
        ("yealink/phone.cfg.j2", "## Time", "{{ 1 // 0 }}", ("yealink/phone.cfg.j2:", "tried with")),
        ("snom/vendor.toml", 'D120 = { family = "desk", slots = 2', 'D120 = { family = "desk", slots = 0', ("snom/vendor.toml:", "models.D120.slots")),
        ("snom/vendor.toml", 'syntax = "xml"', 'syntax = "json"', ("snom/vendor.toml:", "syntax", "json")),
        ("snom/vendor.toml", 'template = "phone.xml.j2"', 'template = "none.j2"', ("snom/none.j2", "vendor.toml")),
        ("snom/vendor.toml", '\nname = "Snom"', '\nname : "Snom"', ("snom/vendor.toml", "line ")),
    ],
    ids=["field", "syntax", "variable", "arithmetic", "slots", "format", "file", "toml"],
)
def test_a_fault_in_a_vendors_folder_names_file_and_line(
    tmp_path: Path, file: str, old: str, new: str, told: tuple[str, ...]
) -> None:
    templates = templates_copy(tmp_path)
    change(templates / file, old, new)
    line = text(templates / file).partition(new)[0].count("\n") + 1
    with pytest.raises(Fault) as fault:
        vendors.load(templates, tmp_path)
    said = str(fault.value)
    assert all(word in said for word in told), said
    if told[0].endswith(":"):
        assert f"{told[0]}{line}" in said


@pytest.mark.parametrize(
    ("file", "old", "new", "told"),
    [
        ("yealink/phone.cfg.j2", "{{ line.username }}", "{{ line.user }}", "yealink/phone.cfg.j2:{}:"),
        ("snom/vendor.toml", 'D120 = { family = "desk", slots = 2', 'D120 = { family = "desk", slots = 0', "snom/vendor.toml:{}: models.D120.slots:"),
    ],
)
def test_a_faulty_vendor_folder_refuses_the_start(
    new_server: Servers, tmp_path: Path, file: str, old: str, new: str, told: str
) -> None:
    templates = templates_copy(tmp_path)
    change(templates / file, old, new)
    line = text(templates / file).partition(new)[0].count("\n") + 1
    assert told.format(line) in refused(new_server(start=False, PATHS__TEMPLATES=str(templates)))


@pytest.mark.parametrize("key", ["phones_https", "management"])
def test_an_address_in_use_refuses_the_start(new_server: Servers, key: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        its = f"127.0.0.1:{taken.getsockname()[1]}"
        said = refused(new_server(start=False, **{f"LISTEN__{key.upper()}": its}))
    assert f"[listen] {key}: {its}" in said


def test_a_second_server_is_refused_and_leaves_the_first_alone(new_server: Servers) -> None:
    first = new_server()
    second = new_server(start=False, name="second", LISTEN__PHONES_HTTP=first.ready["phones_http"])
    assert "[listen] phones_http" in refused(second)
    assert all(get(first, "/y000000000096.cfg").status == 200 for _ in range(20))


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory as `init` makes it."""
    server = Server(tmp_path_factory.mktemp("installed"), {})
    assert server.command("init").returncode == 0
    return server.data


@pytest.mark.parametrize(
    ("broken", "workers"),
    [
        ("key", "1"),
        ("key", "2"),
        ("open-key", "1"),
        ("no-key", "1"),
        ("database", "1"),
        ("schema", "1"),
        ("tls", "1"),
        ("tls", "2"),
    ],
)
def test_what_is_wrong_with_the_data_refuses_the_start(
    new_server: Servers, installed: Path, tmp_path: Path, broken: str, workers: str
) -> None:
    server = new_server(start=False, SERVER__WORKERS=workers)
    shutil.copytree(installed, server.data)
    if broken == "key":
        (server.data / "secret-key").write_text("k1 nothing\n")
    elif broken == "open-key":
        (server.data / "secret-key").chmod(0o644)
    elif broken == "no-key":
        (server.data / "secret-key").unlink()
    elif broken == "database":
        (server.data / "provisioning.db").write_bytes(b"no database" * 1000)
    elif broken == "schema":
        with contextlib.closing(sqlite3.connect(server.data / "provisioning.db")) as database:
            database.execute("UPDATE alembic_version SET version_num = '9999'")
            database.commit()
    else:
        tls.make_own(tmp_path, ["other"])
        server.environment["PROVISIONING__TLS__CERTIFICATE"] = str(tmp_path / "tls-cert.pem")
        server.environment["PROVISIONING__TLS__KEY"] = str(server.data / "tls-key.pem")
    told = {
        "database": "provisioning.db: is no database",
        "schema": "has schema 9999, made by a newer program",
        "tls": "[tls] certificate",
    }
    assert told.get(broken, "secret-key") in refused(server)


def test_a_model_whose_used_slots_are_gone_refuses_the_start(new_server: Servers, tmp_path: Path) -> None:
    templates = templates_copy(tmp_path)
    server = new_server(PATHS__TEMPLATES=str(templates))

    async def use_slot_two() -> None:
        async with managing(server) as api:
            phone = await bound(api, "000413000001", "snom-d120")
            await api.line("second", phone.account)
            body = {"public_ip": "127.0.0.1", "mac": phone.mac, "slot": 2}
            assert (await api.post("/v1/lines/second/attach", body)).status == 202

    asyncio.run(use_slot_two())
    server.stop()
    change(templates / "snom" / "vendor.toml", 'D120 = { family = "desk", slots = 2', 'D120 = { family = "desk", slots = 1')
    assert "snom-d120 has 1 slots, but lines are in higher ones of 1 phones: 00:04:13:00:00:01" in refused(server)


def test_ready_json_tells_what_was_bound(new_server: Servers) -> None:
    server = new_server()
    listeners = {"phones_http", "phones_https", "phones_mtls", "phones_legacy", "management"}
    assert set(server.ready) == {"pid", "ca_file", *listeners}
    assert server.process is not None
    assert server.ready["pid"] == server.process.pid
    assert Path(server.ready["ca_file"]).is_file()
    for name in ("phones_http", "phones_https", "management"):
        host, _, port = server.ready[name].rpartition(":")
        socket.create_connection((host, int(port)), timeout=5).close()


def test_a_listener_that_is_off_is_not_there(new_server: Servers) -> None:
    server = new_server(LISTEN__PHONES_HTTPS="")
    assert server.ready["phones_https"] is None
    assert server.ready["ca_file"] is None
    assert get(server, "/y000000000096.cfg").status == 200


# Reloading


def reload(server: Server) -> None:
    assert server.process is not None
    server.process.send_signal(signal.SIGHUP)


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_changed_template_is_served_after_a_reload(new_server: Servers, tmp_path: Path, workers: str) -> None:
    templates = templates_copy(tmp_path)
    server = new_server(PATHS__TEMPLATES=str(templates), SERVER__WORKERS=workers)
    async with managing(server) as api:
        phone = await bound(api, "001565000001")
    assert b"# changed" not in get(server, phone.path()).body
    change(templates / "yealink" / "phone.cfg.j2", "## Time", "# changed\n## Time")
    reload(server)
    await until(lambda: text(server.log).count("reloaded:") == int(workers))
    assert all(b"# changed" in get(server, path).body for path in [phone.path(), phone.bare()] * 8)

    change(templates / "yealink" / "phone.cfg.j2", "# changed", "# worse {{ nothing }}")
    reload(server)
    await until(lambda: text(server.log).count("nothing was reloaded") == int(workers))
    assert "yealink/phone.cfg.j2:" in text(server.log)
    assert all(b"# changed" in get(server, phone.path()).body for _ in range(16))


def serial(server: Server) -> int:
    with connect(server, tls=True) as its:
        assert isinstance(its, ssl.SSLSocket)
        certificate = its.getpeercert(binary_form=True)
        assert certificate is not None
        return x509.load_der_x509_certificate(certificate).serial_number


async def test_a_renewed_certificate_is_served_while_connections_go_on(new_server: Servers, tmp_path: Path) -> None:
    tls.make_own(tmp_path, ["localhost", "127.0.0.1"])
    certificate, key = tmp_path / "tls-cert.pem", tmp_path / "tls-key.pem"
    server = new_server(TLS__CERTIFICATE=str(certificate), TLS__KEY=str(key))
    server.ready["ca_file"] = str(tmp_path / "ca.pem")
    before = serial(server)
    with connect(server, tls=True) as its, its.makefile("rb") as file:
        its.sendall(request("/y000000000096.cfg"))
        assert read_reply(file).status == 200
        certificate.unlink()
        tls.make_own(tmp_path, ["localhost", "127.0.0.1"])
        reload(server)
        await until(lambda: serial(server) != before)
        its.sendall(request("/y000000000096.cfg"))
        assert read_reply(file).status == 200


async def test_a_certificate_that_does_not_fit_leaves_the_old_one(new_server: Servers, tmp_path: Path) -> None:
    tls.make_own(tmp_path, ["localhost", "127.0.0.1"])
    certificate, key = tmp_path / "tls-cert.pem", tmp_path / "tls-key.pem"
    server = new_server(TLS__CERTIFICATE=str(certificate), TLS__KEY=str(key))
    server.ready["ca_file"] = str(tmp_path / "ca.pem")
    before, old_key = serial(server), key.read_text()
    certificate.unlink()
    tls.make_own(tmp_path, ["localhost", "127.0.0.1"])
    key.write_text(old_key)
    reload(server)
    await until(lambda: "nothing was reloaded" in text(server.log))
    assert serial(server) == before
    assert get(server, "/y000000000096.cfg", tls=True).status == 200


# Stopping


@pytest.mark.parametrize(("number", "workers"), [(signal.SIGTERM, "1"), (signal.SIGTERM, "2"), (signal.SIGINT, "1")])
def test_a_stop_is_clean(new_server: Servers, number: signal.Signals, workers: str) -> None:
    server = new_server(SERVER__WORKERS=workers)
    get(server, "/001565000001.cfg")
    with connect(server), connect(server, tls=True):
        assert server.process is not None
        server.process.send_signal(number)
        assert server.process.wait(10) == 0
    assert not (server.data / "ready.json").exists()
    assert "Traceback" not in text(server.log)
    assert not any(line for line in text(server.log).splitlines() if " ERROR " in line)


def test_a_stop_lets_running_requests_end(new_server: Servers, tmp_path: Path) -> None:
    image = os.urandom(30_000_000)
    (tmp_path / "big.rom").write_bytes(image)
    (tmp_path / "manifest.toml").write_text(
        f'[[image]]\nmodel = "yealink-t54w"\nversion = "1"\nfile = "big.rom"\nsize = {len(image)}\n'
        f'sha256 = "{hashlib.sha256(image).hexdigest()}"\n'
    )
    server = new_server(PATHS__FIRMWARE=str(tmp_path))
    with connect(server) as its, its.makefile("rb") as file:
        its.sendall(request("/firmware/big.rom"))
        assert file.readline() == b"HTTP/1.1 200 OK\r\n"
        stopped: list[int] = []
        stopping = threading.Thread(target=lambda: stopped.append(server.stop()))
        stopping.start()
        time.sleep(0.5)
        assert file.read().endswith(image)
        stopping.join(20)
    assert stopped == [0]


async def test_what_phones_did_just_before_a_stop_is_kept(new_server: Servers) -> None:
    server = new_server()
    async with managing(server) as api:
        phone = await bound(api, "001565000001")
        get(server, phone.path())
    assert server.stop() == 0
    server.start()
    async with managing(server) as api:
        assert (await api.get(f"/v1/phones/{phone.mac}")).body["public_ip"] == "127.0.0.1"


# Worker processes


async def test_a_killed_worker_is_replaced_while_requests_go_on(new_server: Servers) -> None:
    server = new_server(SERVER__WORKERS="2")
    pid = server.ready["pid"]
    workers = children(pid)
    assert len(workers) == 2
    os.kill(workers[0], signal.SIGKILL)
    await until(lambda: len(children(pid)) == 2 and workers[0] not in children(pid))
    assert workers[1] in children(pid)

    def answered() -> bool:
        with contextlib.suppress(ConnectionError):
            return get(server, "/y000000000096.cfg").status == 200
        return False

    await until(lambda: all(answered() for _ in range(30)))
    assert json.loads(text(server.data / "ready.json")) == server.ready
    assert server.stop() == 0
    assert not any(runs(child) for child in workers)


async def test_workers_stop_when_their_parent_was_killed(new_server: Servers) -> None:
    server = new_server(SERVER__WORKERS="2")
    workers = children(server.ready["pid"])
    server.kill()
    await until(lambda: not any(runs(child) for child in workers), within=5)
    server.start()
    assert get(server, "/y000000000096.cfg").status == 200


def test_a_connection_that_does_nothing_does_not_hold_up_a_stop(new_server: Servers) -> None:
    server = new_server()
    with connect(server) as its:
        its.sendall(b"GET / HTTP/1.1\r\n")
        started = time.monotonic()
        assert server.stop() == 0
        assert closed_within(its, 1)
        assert time.monotonic() - started < 8
