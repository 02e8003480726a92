"""Firmware images: exactly those of the manifest, whole or in part."""

import asyncio
import contextlib
import hashlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from running import Api, Server
from wire import TEMPLATES, Reply, bound, connect, get, managing, raw, request, running

from provisioning import vendors
from provisioning.domain.errors import Fault

IMAGE = hashlib.shake_256(b"image").digest(700_001)
ENTRY = """[[image]]
model = "{model}"
version = "96.86.0.23"
file = "{file}"
size = {size}
sha256 = "{sha256}"
"""


def entry(**changed: object) -> str:
    its = {
        "model": "yealink-t54w",
        "file": "T54W-96.86.0.23.rom",
        "size": len(IMAGE),
        "sha256": hashlib.sha256(IMAGE).hexdigest(),
    }
    return ENTRY.format(**its | changed)


def folder(directory: Path, manifest: str) -> Path:
    directory.mkdir(exist_ok=True)
    (directory / "T54W-96.86.0.23.rom").write_bytes(IMAGE)
    (directory / "not-listed.rom").write_bytes(b"not listed")
    (directory / "manifest.toml").write_text(manifest)
    return directory


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("firmware-server")
    firmware = folder(directory / "firmware", entry() + entry(model="snom-d785"))
    with running(directory, PATHS__FIRMWARE=str(firmware)) as its:
        yield its


def image(server: Server, *fields: str, **more: str) -> Reply:
    return get(server, "/firmware/T54W-96.86.0.23.rom", *fields, **more)  # type: ignore[arg-type]


def test_an_image_comes_exactly(server: Server) -> None:
    reply = image(server)
    assert (reply.status, reply.body, reply["Accept-Ranges"]) == (200, IMAGE, "bytes")
    assert get(server, "/firmware/T54W-96.86.0.23.rom", tls=True).body == IMAGE
    assert get(server, f"/{'0' * 32}/firmware/T54W-96.86.0.23.rom").body == IMAGE


def test_head_of_an_image_tells_its_size(server: Server) -> None:
    for fields in ((), ("Range: bytes=0-1",)):
        reply = image(server, *fields, method="HEAD")
        assert (reply.status, reply["Content-Length"]) == (200, str(len(IMAGE)))
    assert raw(server, request("/firmware/T54W-96.86.0.23.rom", method="HEAD")).endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("wanted", "start", "end"),
    [
        ("0-99", 0, 100),
        ("1000-300000", 1000, 300_001),
        ("-500", 699_501, 700_001),
        ("700000-", 700_000, 700_001),
        ("650000-999999999", 650_000, 700_001),
        ("-99999999", 0, 700_001),
    ],
)
def test_a_part_comes_exactly(server: Server, wanted: str, start: int, end: int) -> None:
    reply = image(server, f"Range: bytes={wanted}")
    assert (reply.status, reply.body) == (206, IMAGE[start:end])
    assert reply["Content-Range"] == f"bytes {start}-{end - 1}/{len(IMAGE)}"
    assert reply["Content-Length"] == str(end - start)


@pytest.mark.parametrize("wanted", ["700001-", "999999999-", "-0"])
def test_a_part_beyond_the_end_is_refused(server: Server, wanted: str) -> None:
    reply = image(server, f"Range: bytes={wanted}")
    assert (reply.status, reply["Content-Range"]) == (416, f"bytes */{len(IMAGE)}")


@pytest.mark.parametrize(
    "wanted", ["bytes=0-1,5-6", "bytes=5-4", "bytes=x-", "lines=0-1", "bytes=", f"bytes={'9' * 5000}-"]
)
def test_a_range_that_is_none_gives_the_whole(server: Server, wanted: str) -> None:
    reply = image(server, f"Range: {wanted}")
    assert (reply.status, len(reply.body)) == (200, len(IMAGE))


def test_a_part_goes_on_only_with_the_same_image(server: Server) -> None:
    etag = image(server, method="HEAD")["ETag"]
    assert image(server, "Range: bytes=5-9", f"If-Range: {etag}").body == IMAGE[5:10]
    for other in ('"other"', f"W/{etag}", "Wed, 21 Oct 2015 07:28:00 GMT"):
        assert image(server, "Range: bytes=5-9", f"If-Range: {other}").status == 200


def test_an_image_that_a_phone_has_already_is_not_sent_again(server: Server) -> None:
    etag = image(server, method="HEAD")["ETag"]
    for given in (etag, f'"x", W/{etag}', "*"):
        assert image(server, f"If-None-Match: {given}").status == 304
    assert image(server, 'If-None-Match: "x"').status == 200


@pytest.mark.parametrize(
    "name",
    [
        "not-listed.rom",
        "manifest.toml",
        "t54w-96.86.0.23.rom",
        "T54W-96.86.0.23.rom%00",
        "T54W-96.86.0.23.rom/",
        "..%2ffirmware%2fT54W-96.86.0.23.rom",
        "../var/secret-key",
        "..%2fvar%2fsecret-key",
        "%2e%2e/var/admin-token",
        "....//var/admin-token",
        "/T54W-96.86.0.23.rom",
    ],
)
def test_what_the_manifest_does_not_list_is_not_there(server: Server, name: str) -> None:
    assert get(server, f"/firmware/{name}").body == b"not found\n"


@pytest.mark.parametrize(
    ("model", "mac", "name"),
    [("yealink-t54w", "001565000001", "{mac}.cfg"), ("snom-d785", "000413000001", "{mac}.xml")],
)
async def test_a_document_leads_to_the_image(server: Server, model: str, mac: str, name: str) -> None:
    async with managing(server) as api:
        phone = await bound(api, mac, model)
    found = re.search(rb"https://[0-9.:]+(/firmware/[^<\s]+)", get(server, phone.path(name)).body)
    assert found
    assert get(server, found[1].decode(), tls=True).body == IMAGE


async def test_the_command_line_shows_what_the_phone_gets_the_image_too(
    new_server: Callable[..., Server], tmp_path: Path
) -> None:
    firmware = folder(tmp_path / "firmware", entry())
    server = new_server(PATHS__FIRMWARE=str(firmware), PHONES__URL="https://phones.example.net")
    api = Api(server)
    try:
        await api.account()
        await api.phone("001565fa0001")
        shown = await api.get("/v1/phones/001565fa0001/documents/001565fa0001.cfg")
    finally:
        await api.close()
    printed = server.command("render", "001565fa0001").stdout
    assert "static.firmware.url = https://phones.example.net/firmware/T54W-96.86.0.23.rom" in printed
    assert printed == shown.body.decode()


async def test_a_model_without_an_image_is_told_of_none(server: Server) -> None:
    async with managing(server) as api:
        phone = await bound(api, "001565000002", "yealink-t46s")
    assert b"/firmware/" not in get(server, phone.path()).body


@pytest.mark.parametrize(
    ("manifest", "told"),
    [
        (entry(size=len(IMAGE) - 1), ("T54W-96.86.0.23.rom", "700001 bytes")),
        (entry(sha256="0" * 64), ("T54W-96.86.0.23.rom", "SHA-256")),
        (entry(file="missing.rom"), ("missing.rom", "No such file")),
        (entry(model="yealink-x1"), ("manifest.toml", "image 1", "model", "yealink-x1")),
        (entry() + entry(), ("manifest.toml", "image 2", "model")),
        (entry(file="../T54W-96.86.0.23.rom"), ("manifest.toml", "image 1", "file")),
        (entry(sha256="ABC"), ("manifest.toml", "image 1", "sha256")),
        (entry(size='"many"'), ("manifest.toml", "image 1", "size")),
        (entry() + 'colour = "red"\n', ("manifest.toml", "image 1", "colour")),
        ("[[image]", ("manifest.toml", "line 1")),
    ],
    ids=["size", "hash", "missing", "model", "twice", "path", "no-hash", "no-size", "unknown-field", "no-toml"],
)
def test_a_wrong_manifest_is_a_fault_that_names_file_and_field(
    tmp_path: Path, manifest: str, told: tuple[str, ...]
) -> None:
    with pytest.raises(Fault) as fault:
        vendors.load(TEMPLATES, folder(tmp_path / "firmware", manifest))
    assert all(word in str(fault.value) for word in told), fault.value


def test_a_wrong_manifest_refuses_the_start(new_server: Callable[..., Server], tmp_path: Path) -> None:
    server = new_server(start=False, PATHS__FIRMWARE=str(folder(tmp_path / "firmware", entry(size=1))))
    done = server.command("serve")
    assert done.returncode == 1
    assert "T54W-96.86.0.23.rom: has 700001 bytes, its manifest says 1" in done.stderr
    assert "Traceback" not in done.stderr


async def test_an_image_that_went_away_is_told_and_spares_the_rest(
    new_server: Callable[..., Server], tmp_path: Path
) -> None:
    firmware = folder(tmp_path / "firmware", entry())
    server = new_server(PATHS__FIRMWARE=str(firmware))
    (firmware / "T54W-96.86.0.23.rom").unlink()
    assert image(server).status == 500
    (firmware / "T54W-96.86.0.23.rom").write_bytes(IMAGE[:-1])
    cut = raw(server, request("/firmware/T54W-96.86.0.23.rom"))
    assert cut.endswith(IMAGE[-5000:-1])
    assert get(server, "/y000000000096.cfg").status == 200
    assert "T54W-96.86.0.23.rom" in server.log.read_text()


async def test_a_phone_that_takes_nothing_of_an_image_is_given_up(
    new_server: Callable[..., Server], tmp_path: Path
) -> None:
    firmware = folder(tmp_path / "firmware", "")
    large = bytes(30_000_000)
    (firmware / "large.rom").write_bytes(large)
    sha256 = hashlib.sha256(large).hexdigest()
    (firmware / "manifest.toml").write_text(entry(file="large.rom", size=len(large), sha256=sha256))
    server = new_server(PATHS__FIRMWARE=str(firmware), LIMITS__REQUEST="0.4")
    with connect(server) as stalled, connect(server) as slow:
        for its in (stalled, slow):
            its.sendall(request("/firmware/large.rom"))
        taken = 0
        for _ in range(40):
            taken += len(slow.recv(100_000))
            await asyncio.sleep(0.1)
        with contextlib.suppress(ConnectionError):
            while piece := stalled.recv(1_000_000):
                taken -= len(piece)
        assert taken > -len(large)
        with slow.makefile("rb") as file:
            assert file.read(len(large) - max(taken, 0))
