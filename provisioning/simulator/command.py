"""`provisioning simulate`: simulated phones, and a registrar for them, against a running server."""

import argparse
import asyncio
import contextlib
import ipaddress
import json
import os
import resource
import signal
import socket
import ssl
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import urlsplit

from provisioning.domain import mac as macs
from provisioning.simulator import enrolment, misbehaviour
from provisioning.simulator.dialects import VENDORS
from provisioning.simulator.fleet import Fleet, Report
from provisioning.simulator.misbehaviour import Misbehaviour
from provisioning.simulator.phone import Pace, Phone, Sheet
from provisioning.simulator.registrar import Registrar

EVERY_PHONE_PROVISIONED, SOME_FAILED, UNUSABLE = 0, 1, 2

# More phones than this are shown as a count, not by name.
_NAMED = 20
# After the duration: longer than a phone stays unplugged, or waits before its second try.
_SETTLE = 12.0


class _Unusable(Exception):  # noqa: N818  the state of things, not a fault of ours
    """What was asked for cannot begin; the text says why and what to do."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Starts simulated phones, of each family in turn, and a small registrar for them. The phones are "
        "created through the management API, or taken from --sheets."
    )
    where = parser.add_argument_group("the server")
    where.add_argument("--server", metavar="URL", help="management API, such as http://127.0.0.1:8081")
    where.add_argument("--token", help="its token; better given by --token-file or PROVISIONING_TOKEN")
    where.add_argument("--token-file", type=Path, metavar="FILE", help="file that holds the token")
    where.add_argument("--ca", type=Path, metavar="FILE", help="CA that the phones trust for HTTPS (PEM)")
    where.add_argument("--demo", action="store_true", help="the demo account's phones, until Ctrl-C; see --data-dir")
    where.add_argument(
        "--data-dir", type=Path, default=Path("var"), metavar="DIR", help="the server's data (default: var)"
    )

    phones = parser.add_argument_group("the phones")
    phones.add_argument("--phones", type=_count, metavar="N", help="how many to create (default: 3)")
    phones.add_argument("--lines-per-phone", type=_count, default=1, metavar="N")
    phones.add_argument("--sheets", type=Path, metavar="FILE", help="existing phones, as a JSON list")
    phones.add_argument("--addresses", type=_count, default=1, metavar="N", help="spread over N loopback addresses")
    phones.add_argument(
        "--misbehave",
        type=_misbehaviour,
        default=misbehaviour.NONE,
        metavar="LIST",
        help="such as drop=0.1,duplicate=0.1,delay=2,lie=0.05,offline=0.05,refuse=0.1,truncate=0.1",
    )
    phones.add_argument("--poll-scale", type=_seconds, default=1.0, metavar="X", help="factor of poll intervals")
    phones.add_argument("--ramp", type=_seconds, default=0.0, metavar="SECONDS", help="plug them in over a time")
    phones.add_argument(
        "--concurrency", type=_count, default=100, metavar="N", help="phones booting at once (default: 100)"
    )
    phones.add_argument(
        "--duration",
        type=_seconds,
        metavar="SECONDS",
        help="how long they live after booting; 0: until Ctrl-C (default: 10)",
    )

    sip = parser.add_argument_group("their registrar")
    sip.add_argument(
        "--registrar", type=_host_port, default=("127.0.0.1", 5062), metavar="HOST:PORT", help="where it listens"
    )
    sip.add_argument("--no-registrar", action="store_true", help="there is one at --registrar already")
    sip.add_argument("--registrar-rpc", type=_port, metavar="PORT", help="offer Kamailio's ul.lookup over HTTP")

    parser.add_argument("--json", action="store_true", help="report as JSON on stdout, progress on stderr")


async def run(args: argparse.Namespace) -> int:
    if args.demo:
        args.sheets = args.sheets or args.data_dir / "demo-phones.json"
        # Where `serve --demo` asks for registrations.
        args.registrar_rpc = 5063 if args.registrar_rpc is None else args.registrar_rpc
        default_ca = args.data_dir / "ca.pem"
        args.ca = args.ca or (default_ca if default_ca.exists() else None)
    if args.duration is None:
        args.duration = 0.0 if args.demo else 10.0
    try:
        report = await _simulate(args)
    except (_Unusable, enrolment.Unreachable, enrolment.Declined) as fault:
        sys.stderr.write(f"provisioning simulate: {fault}\n")
        return UNUSABLE
    if args.json:
        sys.stdout.write(json.dumps(report.as_dict(), indent=2) + "\n")
    else:
        sys.stdout.write(_in_words(report))
    return EVERY_PHONE_PROVISIONED if report.provisioned == report.phones else SOME_FAILED


async def _simulate(args: argparse.Namespace) -> Report:
    tls = _tls(args.ca)
    if args.sheets is None and args.server is None:
        raise _Unusable("give --server URL to create phones, --sheets FILE for existing ones, or --demo")
    existing = None if args.sheets is None else read_sheets(args.sheets)
    output: TextIO = sys.stderr if args.json else sys.stdout
    async with _registrar(args, output) as registrar:
        if existing is not None:
            sheets = existing
        else:
            enrolled = await _enrol(args, registrar)
            sheets = enrolled.sheets
            if registrar is not None:
                registrar.passwords.update(enrolled.passwords)
            output.write(f"created {len(sheets)} phones of account {enrolled.account}\n")
        if not sheets:
            raise _Unusable(f"{args.sheets} lists no phone")
        _raise_limit(len(sheets))
        talk = _Talk(output, named=len(sheets) <= _NAMED)
        fleet = Fleet(
            sheets,
            addresses=_addresses(args.addresses, sheets[0].provisioning_url),
            misbehaviour=args.misbehave,
            pace=Pace(poll_scale=args.poll_scale),
            tls=tls,
            ramp=args.ramp,
            concurrency=args.concurrency,
            lines_expected=existing is None,
            on_progress=talk.progress,
            on_event=talk.event,
        )
        async with fleet:
            with _stop_signals() as stopped:
                await _live(fleet, stopped, args.duration)
            return fleet.report()


async def _live(fleet: Fleet, stopped: asyncio.Event, duration: float) -> None:
    """Boots the phones and lets them live; whatever it is doing, a stop signal ends it."""

    async def live() -> None:
        await fleet.boot()
        if duration:
            await asyncio.sleep(duration)
            await fleet.settle(_SETTLE)
        else:
            await asyncio.Event().wait()

    living = asyncio.create_task(live())
    stopping = asyncio.create_task(stopped.wait())
    try:
        await asyncio.wait((living, stopping), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (living, stopping):
            task.cancel()
        await asyncio.wait((living, stopping))
    if not living.cancelled():
        living.result()


@contextlib.asynccontextmanager
async def _registrar(args: argparse.Namespace, output: TextIO) -> AsyncIterator[Registrar | None]:
    if args.no_registrar:
        yield None
        return
    host, port = args.registrar
    # Phones from a sheet have passwords that only the server and they know.
    registrar = Registrar(open_registration=True, rpc=args.registrar_rpc is not None, rpc_port=args.registrar_rpc or 0)
    try:
        await registrar.start(host, port)
    except OSError as fault:
        raise _Unusable(
            f"the registrar cannot listen on {host}:{port}: {fault.strerror or fault}; "
            "use another --registrar, or --no-registrar if one is running there"
        ) from None
    try:
        rpc = f", ul.lookup at {registrar.rpc_url}" if registrar.rpc_url else ""
        output.write(f"registrar on {_spelled(registrar.address)}{rpc}\n")
        output.flush()
        yield registrar
    finally:
        await registrar.close()


async def _enrol(args: argparse.Namespace, registrar: Registrar | None) -> enrolment.Enrolled:
    return await enrolment.enrol(
        args.server,
        _token(args),
        phones=args.phones or len(VENDORS),
        lines_per_phone=args.lines_per_phone,
        outbound_proxy=_spelled(args.registrar if registrar is None else registrar.address),
    )


def _token(args: argparse.Namespace) -> str:
    if args.token:
        return str(args.token)
    if args.token_file is None and (token := os.environ.get("PROVISIONING_TOKEN")):
        return token
    file: Path = args.token_file or args.data_dir / "admin-token"
    try:
        return file.read_text().strip()
    except (OSError, UnicodeDecodeError) as fault:
        why = fault.strerror if isinstance(fault, OSError) else "is no text"
        raise _Unusable(f"no token: {file}: {why}; give --token-file or --token") from None


def read_sheets(file: Path) -> tuple[Sheet, ...]:
    """A JSON list of `{"mac", "vendor", "family", "model", "provisioning_url", "common"}`."""
    try:
        data = json.loads(file.read_bytes())
    except OSError as fault:
        raise _Unusable(
            f"{file}: {fault.strerror}; `provisioning serve --demo` writes the demo's, is it running?"
        ) from None
    except ValueError as fault:
        raise _Unusable(f"{file} is not JSON: {fault}") from None
    if not isinstance(data, list):
        raise _Unusable(f"{file} is not a list of phones")
    return tuple(_sheet(f"{file}, phone {number}", item) for number, item in enumerate(data, 1))


def _sheet(where: str, item: Any) -> Sheet:
    try:
        common = item.get("common") or []
        sheet = Sheet(
            macs.parse(item["mac"]),
            item["vendor"],
            item["model"],
            item["provisioning_url"],
            tuple(map(str, common)),
            item.get("family") or "",
        )
    except (AttributeError, KeyError, TypeError, ValueError) as fault:
        raise _Unusable(f"{where}: {type(fault).__name__}: {fault}") from None
    if sheet.vendor not in VENDORS:
        raise _Unusable(f"{where}: vendor {sheet.vendor!r} cannot be simulated; known are {', '.join(VENDORS)}")
    if not isinstance(sheet.model, str) or not str(sheet.provisioning_url).startswith(("http://", "https://")):
        raise _Unusable(f"{where}: model or provisioning_url is not usable")
    return sheet


def _tls(ca: Path | None) -> ssl.SSLContext | None:
    if ca is None:
        return None
    try:
        return ssl.create_default_context(cafile=ca)
    except OSError as fault:  # an unreadable file, and a readable one that holds no certificate
        raise _Unusable(f"{ca} is not usable as a CA: {fault.strerror or fault}") from None


def _addresses(count: int, url: str) -> tuple[str, ...]:
    """The phones' own: loopback ones towards a server on this machine, else the one that routes there."""
    host = urlsplit(url).hostname or "127.0.0.1"
    try:
        found = socket.getaddrinfo(host, 9, family=socket.AF_INET, type=socket.SOCK_DGRAM)[0][4][0]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((found, 9))  # sends nothing
            own = str(probe.getsockname()[0])
    except OSError as fault:
        raise _Unusable(f"the server's name {host} cannot be used: {fault.strerror or fault}") from None
    if not ipaddress.ip_address(own).is_loopback or count == 1:
        return (own,)
    first = int(ipaddress.IPv4Address("127.1.0.1"))
    return tuple(str(ipaddress.IPv4Address(first + number)) for number in range(count))


def _raise_limit(phones: int) -> None:
    """A phone has one socket, and while it boots a second one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * phones + 256
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


@contextlib.contextmanager
def _stop_signals() -> Iterator[asyncio.Event]:
    """Ctrl-C ends the simulation with a report, instead of without one."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    caught = []
    for number in (signal.SIGINT, signal.SIGTERM):
        # Only the main thread may; elsewhere whoever started us stops us.
        with contextlib.suppress(ValueError, RuntimeError):
            loop.add_signal_handler(number, stopped.set)
            caught.append(number)
    try:
        yield stopped
    finally:
        for number in caught:
            loop.remove_signal_handler(number)


class _Talk:
    """What a person sees meanwhile: every event of a few phones, or how far many of them are."""

    def __init__(self, output: TextIO, *, named: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._output = output
        self._named = named
        self._clock = clock
        self._last = 0.0

    def event(self, phone: Phone, kind: str, text: str) -> None:
        if not self._named or (kind == "fetched" and phone.last_status is not None):
            return
        name = f"phone {macs.spelled(phone.mac)} ({phone.sheet.vendor} {phone.sheet.model})"
        said = {
            "booted": f"booted, {text}",
            "notified": text,
            "failed": f"could not fetch: {text}",
        }.get(kind, text)
        self._write(f"{time.strftime('%H:%M:%S')} {name}: {said}")

    def progress(self, through: int, phones: int, failed: int) -> None:
        now = self._clock()
        if self._named or (through < phones and now - self._last < 1.0):
            return
        self._last = now
        self._write(f"{through} of {phones} phones booted, {failed} of them failed")

    def _write(self, line: str) -> None:
        self._output.write(f"{line}\n")
        self._output.flush()


def _in_words(report: Report) -> str:
    seconds = report.fetch_seconds
    lines = [
        f"{report.provisioned} of {report.phones} phones provisioned, {report.booted} hold a configuration",
        *(f"  {count} failed: {reason}" for reason, count in report.failed.items()),
        f"{report.lines_registered} of {report.lines} lines registered",
        f"{report.fetches} fetches, {report.bytes} bytes, {report.fetches_failed} without an answer",
        f"  half within {seconds['p50']:g} s, 99% within {seconds['p99']:g} s, slowest {seconds['max']:g} s",
        f"{report.notifies} NOTIFY, {report.resyncs} told to fetch, {report.resyncs_fetched} of them did",
        f"{report.foreign_lines} lines of other phones given away",
        f"{report.seconds:.1f} s",
    ]
    return "".join(f"{line}\n" for line in lines)


def _spelled(address: tuple[str, int]) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _count(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= 100_000:
        raise argparse.ArgumentTypeError(f"{text!r} is no count from 1 to 100000")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 10_000_000:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 on")
    return value


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port")
    return int(text)


def _host_port(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not host or not colon:
        raise argparse.ArgumentTypeError(f"{text!r} is not written as host:port")
    return host.strip("[]"), _port(port)


def _misbehaviour(text: str) -> Misbehaviour:
    try:
        return misbehaviour.parse(text)
    except ValueError as fault:
        raise argparse.ArgumentTypeError(str(fault)) from None
