import argparse
import json
import re
import socket
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from scripted_management import ScriptedManagement, secret_of
from scripted_phones_server import WRITERS, ScriptedServer, line, own_file, snom, yealink

from provisioning.domain import mac as macs
from provisioning.simulator import command, enrolment
from provisioning.simulator.fleet import Fleet
from provisioning.simulator.misbehaviour import Misbehaviour
from provisioning.simulator.phone import Pace, Sheet
from provisioning.simulator.registrar import Registrar

QUICK = Pace(retry_first=0.02, retry_most=0.1, http_timeout=2.0, sip_timeout=0.3, t1=0.02)


@pytest.fixture
async def management(server):
    management = ScriptedManagement(server.url)
    await management.start()
    yield management
    await management.close()


@pytest.fixture
def served(server, management):
    """The scripted servers together: every phone gets the lines that were put on it."""

    def content(request):
        name = request.path.rpartition("/")[2]
        found = macs.find(name)
        phone = management.phones.get(found[0]) if found else None
        if phone is None or secret_of(phone["mac"]) not in request.path or name.endswith(".boot"):
            return 404
        vendor = phone["model"].partition("-")[0]
        lines = [management.lines[x] for x in management.lines_of(phone["mac"])]
        written = [(x["username"], x["password"], *x["outbound_proxy"].split(":")) for x in lines]
        return WRITERS[vendor](*written)

    class Everything(dict):
        def get(self, name, default=None):
            return content

    server.files = Everything()
    return management


def sheets(server, count, vendor="snom"):
    found = []
    for number in range(count):
        mac = f"0004130000{number:02x}"
        url = f"{server.url}/{own_file(vendor, mac) if vendor == 'snom' else ''}"
        found.append(Sheet(mac, vendor, "D785", url))
    return found


async def test_fleet_boots_and_reports(server, registrar):
    registrar.open_registration = True
    all_sheets = sheets(server, 20)
    for number, sheet in enumerate(all_sheets):
        server.files[own_file("snom", sheet.mac)] = snom(line(f"20{number:02}", registrar))
    progress = []
    fleet = Fleet(
        all_sheets,
        addresses=("127.1.0.1", "127.1.0.2"),
        misbehaviour=Misbehaviour(lie=1.0, duplicate=0.5),
        pace=QUICK,
        concurrency=5,
        ramp=0.05,
        on_progress=lambda *seen: progress.append(seen),
    )
    async with fleet:
        await fleet.boot()
        report = fleet.report()
    assert progress[-1] == (20, 20, 0)
    assert (report.phones, report.booted, report.provisioned, report.failed) == (20, 20, 20, {})
    assert (report.lines, report.lines_registered) == (20, 20)
    assert report.fetches >= 20
    assert 0 < report.fetch_seconds["p50"] <= report.fetch_seconds["p99"] <= report.fetch_seconds["max"]
    # This server gives everything to everybody, and each phone asked for its neighbour's.
    assert report.foreign_lines > 0
    assert {request.remote for request in server.requests} == {"127.1.0.1", "127.1.0.2"}
    assert json.loads(json.dumps(report.as_dict()))["bytes"] == report.bytes > 0


async def test_fleet_names_the_reasons_of_failures(server, registrar):
    _missing, wrong, empty, broken, good = all_sheets = sheets(server, 5)
    server.files[own_file("snom", wrong.mac)] = snom(line("1001", registrar, "wrong"))
    server.files[own_file("snom", empty.mac)] = snom()
    server.files[own_file("snom", broken.mac)] = b"<settings>"
    server.files[own_file("snom", good.mac)] = snom(line("1002", registrar))
    async with Fleet(all_sheets, pace=QUICK, lines_expected=True) as fleet:
        await fleet.boot()
        await fleet.settle(0.05)
        report = fleet.report()
    assert report.provisioned == 1
    reasons = sorted(report.failed)
    assert reasons[:3] == ["HTTP 404 for its own file", "no line in its configuration", "not registered: 403"]
    assert reasons[3].startswith("unreadable file: ")


async def test_fleet_survives_an_address_that_it_cannot_use(server):
    async with Fleet(sheets(server, 2), addresses=("203.0.113.1",), pace=QUICK) as fleet:
        await fleet.boot()
        await fleet.settle(0.05)
        report = fleet.report()
    assert report.provisioned == 0
    assert next(iter(report.failed)).startswith("no socket: ")


def self_signed(folder):
    """A server's context, and the file that phones have to trust."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "ca.pem").write_bytes(certificate.public_bytes(pem))
    (folder / "key.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "ca.pem", folder / "key.pem")
    return context, folder / "ca.pem"


async def test_fleet_fetches_over_https_if_it_trusts_the_server(registrar, tmp_path):
    context, ca = self_signed(tmp_path)
    server = ScriptedServer()
    await server.start(context)
    sheet = sheets(server, 1)[0]
    server.files[own_file("snom", sheet.mac)] = snom(line("1001", registrar))
    reports = []
    for tls in (ssl.create_default_context(cafile=ca), None):
        async with Fleet([sheet], tls=tls, pace=QUICK) as fleet:
            await fleet.boot()
            reports.append(fleet.report())
    await server.close()
    trusting, distrusting = reports
    assert trusting.provisioned == 1
    assert distrusting.failed == {"certificate refused": 1}
    assert distrusting.fetches_failed > 0


async def test_enrols_phones_of_three_vendors(management):
    enrolled = await enrolment.enrol(
        management.url, management.token, phones=7, lines_per_phone=3, outbound_proxy="127.0.0.1:5062"
    )
    assert enrolled.account == "simulation"
    assert {s.vendor for s in enrolled.sheets[:3]} == {"yealink", "snom", "linphone"}
    assert {s.model for s in enrolled.sheets} == {"T46S", "D785", "linphone"}  # D120 has too few slots
    desk = next(s for s in enrolled.sheets if s.vendor == "yealink")
    assert (desk.family, desk.common) == ("desk", ("y000000000066.cfg",))
    assert desk.provisioning_url.endswith(f"/p/{secret_of(desk.mac)}/")
    assert len({s.mac for s in enrolled.sheets}) == 7
    assert all(len(management.lines_of(s.mac)) == 3 for s in enrolled.sheets)
    assert all("public_ip" not in body for body in management.attached)
    written = management.lines["simulation-1"]
    assert written["outbound_proxy"] == "127.0.0.1:5062"
    assert enrolled.passwords[written["username"]] == written["password"]
    assert written["password"] not in repr(enrolled)
    assert re.fullmatch(r"\+339\d{8}", written["number"])


async def test_enrols_again_under_fresh_names(management):
    how = {"phones": 3, "outbound_proxy": "127.0.0.1:5062"}
    first = await enrolment.enrol(management.url, management.token, **how)
    second = await enrolment.enrol(management.url, management.token, **how)
    assert second.account.startswith("simulation-")
    assert not {s.mac for s in first.sheets} & {s.mac for s in second.sheets}
    assert len(management.phones) == 6


async def test_enrolment_says_why_not(management):
    with pytest.raises(enrolment.Declined, match=r"HTTP 401: This token is not known"):
        await enrolment.enrol(management.url, "wrong", phones=1, outbound_proxy="x")
    with pytest.raises(enrolment.Declined, match="slots"):
        await enrolment.enrol(management.url, management.token, phones=1, lines_per_phone=99, outbound_proxy="x")
    with pytest.raises(enrolment.Unreachable, match="is the server running"):
        await enrolment.enrol("http://127.0.0.1:9", "t", phones=1, outbound_proxy="x")


async def test_enrolment_knows_a_management_api_when_it_sees_none(server):
    with pytest.raises(enrolment.Unreachable, match="no management API"):
        await enrolment.enrol(server.url, "t", phones=1, outbound_proxy="x")


def parsed(*words):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return parser.parse_args(words)


async def test_simulates_with_new_phones(served, capsys):
    args = parsed(
        "--server", served.url, "--token", served.token, "--phones", "6", "--lines-per-phone", "2",
        "--registrar", "127.0.0.1:0", "--registrar-rpc", "0", "--duration", "0.01", "--addresses", "3",
        "--misbehave", "lie=1", "--json",
    )  # fmt: skip
    assert await command.run(args) == 0
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert (report["phones"], report["provisioned"], report["lines_registered"]) == (6, 6, 12)
    assert report["foreign_lines"] == 0
    assert "/RPC" in err
    assert "created 6 phones of account simulation" in err
    assert "secret-" not in out + err


async def test_simulates_phones_of_a_sheet_as_the_demo_does(server, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "_SETTLE", 0.05)
    async with Registrar(open_registration=True) as elsewhere:
        mac = "001565a1b2c3"
        server.files[own_file("yealink", mac)] = yealink(line("1001", elsewhere))
        data = [
            {
                "mac": "00:15:65:A1:B2:C3",
                "vendor": "yealink",
                "model": "T46S",
                "provisioning_url": f"{server.url}/p/s3cr3t/",
                "common": ["y000000000066.cfg"],
            }
        ]
        (tmp_path / "demo-phones.json").write_text(json.dumps(data))
        words = ("--demo", "--data-dir", str(tmp_path), "--no-registrar", "--duration", "0.01")
        assert await command.run(parsed(*words)) == 0
        out, _ = capsys.readouterr()
        assert "phone 00:15:65:A1:B2:C3 (yealink T46S): booted, lists 1001\n" in out
        assert "line 1001 registered\n" in out
        assert "1 of 1 phones provisioned" in out
        assert "s3cr3t" not in out

        server.files.clear()
        assert await command.run(parsed(*words)) == 1
        assert "HTTP 404 for its own file" in capsys.readouterr()[0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "give --server URL"),
        (["--demo"], "is it running"),
        (["--sheets", "broken.json"], "is not JSON"),
        (["--sheets", "empty.json"], "lists no phone"),
        (["--sheets", "acme.json"], "vendor 'acme' cannot be simulated"),
        (["--sheets", "short.json"], "phone 1: KeyError: 'vendor'"),
        (["--server", "http://127.0.0.1:9"], "no token"),
        (["--server", "http://127.0.0.1:9", "--token", "t"], "is not reachable"),
        (["--sheets", "empty.json", "--ca", "none.pem"], "not usable as a CA"),
        (["--sheets", "empty.json", "--ca", "broken.json"], "not usable as a CA"),
    ],
)
async def test_says_why_it_cannot_begin(words, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PROVISIONING_TOKEN", raising=False)
    url = "http://127.0.0.1:9/"
    for name, text in {
        "broken": "{",
        "empty": "[]",
        "acme": json.dumps([{"mac": "001565a1b2c3", "vendor": "acme", "model": "1", "provisioning_url": url}]),
        "short": json.dumps([{"mac": "001565a1b2c3"}]),
    }.items():
        (tmp_path / f"{name}.json").write_text(text)
    assert await command.run(parsed("--registrar", "127.0.0.1:0", "--duration", "0.01", *words)) == 2
    _, err = capsys.readouterr()
    assert said in err
    assert err.count("\n") == 1


async def test_says_that_the_registrars_port_is_taken(capsys, tmp_path):
    (tmp_path / "sheets.json").write_text("[]")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        words = ("--sheets", str(tmp_path / "sheets.json"), "--registrar", f"127.0.0.1:{port}")
        assert await command.run(parsed(*words)) == 2
    assert "use another --registrar, or --no-registrar" in capsys.readouterr()[1]


@pytest.mark.parametrize(
    "words",
    [["--phones", "0"], ["--phones", "x"], ["--misbehave", "x=1"], ["--registrar", "5062"], ["--duration", "-1"]],
)
def test_usage(words):
    with pytest.raises(SystemExit) as ended:
        parsed(*words)
    assert ended.value.code == 2
