"""Composition: checks, listeners, workers. What each part does stands in its own package."""

import asyncio
import contextlib
import json
import logging
import os
import resource
import signal
import socket
import ssl
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import uvloop
from sqlalchemy import create_engine
from sqlalchemy.engine import URL

from provisioning import installation, tls, vendors
from provisioning.config import Config, Endpoint
from provisioning.domain.errors import Fault
from provisioning.domain.guard import FailureLimits, Guard
from provisioning.domain.identification import Identifier
from provisioning.domain.mac import spelled
from provisioning.management.app import application
from provisioning.management.context import Management
from provisioning.management.listener import ManagementListener
from provisioning.metrics import Metrics
from provisioning.phones import certificates
from provisioning.phones.access_log import AccessLog
from provisioning.phones.certificates import Certificates
from provisioning.phones.connection import Kind
from provisioning.phones.documents import Documents
from provisioning.phones.firmware import Firmware
from provisioning.phones.listener import BACKLOG, PhonesListener
from provisioning.phones.login import Login, NonceUses
from provisioning.phones.proving import Proving
from provisioning.phones.recorder import Recorder
from provisioning.phones.reopening import Reopening
from provisioning.phones.strangers import Strangers
from provisioning.resync.locator import KamailioLocator, RegistrationWatch
from provisioning.resync.passwords import PasswordHook
from provisioning.resync.worker import ResyncWorker
from provisioning.sip.client import Credentials, NextHop, SipClient
from provisioning.store import phones as stored_phones
from provisioning.store.database import Database
from provisioning.store.fetch import PhoneReader
from provisioning.store.secrets import KeyRing, write_private
from provisioning.vendors import Vendors

log = logging.getLogger(__name__)

STOP_SECONDS = 15.0
LISTENERS: dict[str, Kind] = {
    "phones_https": "https",
    "phones_mtls": "mtls",
    "phones_legacy": "legacy",
    "phones_http": "http",
}
"The phones' own, by their names in [listen]."
_OTHER_FILES = 200
_MOST_NAMED = 20
"Phones in one sentence."
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


@dataclass(frozen=True, slots=True)
class Listening:
    """The addresses, with the ports that were really bound; and the sockets that hold them."""

    phones_http: Endpoint | None
    phones_https: Endpoint | None
    phones_mtls: Endpoint | None
    phones_legacy: Endpoint | None
    management: Endpoint | None
    held: tuple[socket.socket, ...]


def serve(config: Config, announce: Callable[[Listening, Vendors], None]) -> int:
    """Until a signal stops it. Fault: whatever is wrong, before anything listens."""
    _logging(config)
    _allow_connections(config)
    for made in installation.prepare(config, upgrade=False):
        log.info("made %s", made)
    known = load_vendors(config)
    _fit_slots(config, known)
    sip_client(config, probe=True)
    # Each worker opens them for itself; here a fault still refuses the start.
    KeyRing(config.key_file)
    contexts(config, load_certificates(config, known))
    listening = _hold(config)
    # Of a server that was killed; of one that runs it cannot be, for its addresses are ours.
    config.ready_file.unlink(missing_ok=True)
    if not config.phones.url and installation.listens_everywhere(config):
        log.warning("[phones] url is not set: phones elsewhere are sent to this machine's own loopback address")
    metrics = Metrics(config.server.workers)
    nonces = NonceUses()

    def ready() -> None:
        _ready(config, known, listening, announce)

    try:
        if config.server.workers == 1:
            uvloop.run(_work(config, known, listening, metrics, nonces, 0, ready))
        else:
            _supervise(config, known, listening, metrics, nonces, ready)
    finally:
        for held in listening.held:
            held.close()
        config.ready_file.unlink(missing_ok=True)
    return 0


def load_vendors(config: Config) -> Vendors:
    """The catalogue, checked also against what the database's phones use."""
    known = vendors.load(config.paths.templates, config.paths.firmware, config.models.by_model)
    check_phones_in_use(config, known)
    return known


def check_phones_in_use(config: Config, known: Vendors) -> None:
    """Fault: of all models that phones have and the catalogue has not, or has with fewer slots than are in use."""
    engine = create_engine(URL.create("sqlite", database=str(config.database_path)))
    try:
        with engine.connect() as connection:
            used = stored_phones.models_in_use(connection)
            slots = {model: known.catalogue.models[model].slots for model in used & set(known.catalogue.models)}
            beyond = stored_phones.beyond_their_slots(connection, slots)
    finally:
        engine.dispose()
    unknown = sorted(used - set(slots))
    faults = [f"phones of the model {model} exist, but no vendor's folder has it" for model in unknown]
    for model, macs in sorted(beyond.items()):
        shown = ", ".join(map(spelled, macs[:_MOST_NAMED])) + (", ..." if len(macs) > _MOST_NAMED else "")
        faults.append(
            f"the model {model} has {slots[model]} slots, but lines are in higher ones of {len(macs)} phones: {shown}; "
            "detach them first, or give the model its slots back"
        )
    if faults:
        raise Fault("\n".join(faults))


def _fit_slots(config: Config, known: Vendors) -> None:
    """A slot is a row: phones of a model whose slots are another number now get, or lose, empty ones."""
    engine = create_engine(URL.create("sqlite", database=str(config.database_path)))
    try:
        with engine.begin() as connection:
            stored_phones.fit_slots(connection, {model.id: model.slots for model in known.catalogue.models.values()})
    finally:
        engine.dispose()


def load_certificates(config: Config, known: Vendors) -> Certificates:
    devices = config.devices
    for model in config.legacy.models:
        if model not in known.catalogue.models:
            raise Fault(f"[legacy] models: {model!r} is in no vendor's folder; it looks like yealink-t46g")
    return certificates.load(
        devices.ca_dir,
        known.catalogue,
        accept_expired=devices.expired == "accept",
        proxy_header=devices.proxy_header,
        trusted=config.network.trusted_proxies,
    )


def contexts(config: Config, shown: Certificates) -> dict[Kind, ssl.SSLContext]:
    """Of each TLS listener of the phones. The plain one never asks for a certificate: a phone with one of an
    unknown CA could not connect, and it may well have another proof."""
    made: dict[Kind, ssl.SSLContext] = {}
    if config.listen.phones_https is not None:
        made["https"] = tls.context(*installation.certificate(config))
    if config.listen.phones_mtls is not None:
        made["mtls"] = tls.context(*installation.certificate(config))
    if config.listen.phones_legacy is not None:
        made["legacy"] = tls.legacy_context(*installation.certificate(config, legacy=True))
    for kind in ("mtls", "legacy"):
        if kind in made and shown.authorities:
            tls.request_certificates(made[kind], shown.authorities)
    return made


def sip_client(config: Config, *, probe: bool = False) -> SipClient | None:
    """None: no route to the phones is configured. `probe` only checks the settings."""
    resync = config.resync
    if not resync.proxy:
        return None
    try:
        next_hop = NextHop.parse(resync.proxy)
    except ValueError as error:
        raise Fault(f"[resync] proxy: {error}") from None
    context = None
    if next_hop.transport == "tls":
        try:
            context = ssl.create_default_context(cafile=resync.ca)
        except (OSError, ssl.SSLError) as error:
            raise Fault(f"[resync] ca: {resync.ca} cannot be used ({error})") from None
    credentials = Credentials(resync.username, resync.password) if resync.username else None
    if probe:
        return None
    return SipClient(next_hop, sender=resync.sender, credentials=credentials, t1=resync.t1, ssl_context=context)


def _hold(config: Config) -> Listening:
    """Binds every address without listening, so that its port is known and nobody else's."""
    held: list[socket.socket] = []
    real: dict[str, Endpoint | None] = {}
    for name in (*LISTENERS, "management"):
        endpoint: Endpoint | None = getattr(config.listen, name)
        real[name] = None
        if endpoint is not None:
            try:
                # Without SO_REUSEPORT, so that a second server is refused instead of sharing the phones.
                _bind(endpoint, f"[listen] {name}", share=False).close()
                bound = _bind(endpoint, f"[listen] {name}")
            except Fault:
                for other in held:
                    other.close()
                raise
            held.append(bound)
            real[name] = Endpoint(endpoint.host, bound.getsockname()[1])
    return Listening(**real, held=tuple(held))


def _bind(endpoint: Endpoint, key: str, *, share: bool = True) -> socket.socket:
    bound: socket.socket | None = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            endpoint.host, endpoint.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if share:
            # Each worker has its own socket and the kernel spreads the connections over them.
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind(address)
        if not share:
            bound.listen()
    except OSError as error:
        if bound is not None:
            bound.close()
        raise Fault(f"{key}: {endpoint} cannot be bound: {error.strerror}") from None
    return bound


def _listen(endpoint: Endpoint, key: str) -> socket.socket:
    listening = _bind(endpoint, key)
    listening.setblocking(False)
    listening.listen(BACKLOG)
    return listening


def _ready(
    config: Config, known: Vendors, listening: Listening, announce: Callable[[Listening, Vendors], None]
) -> None:
    def shown(endpoint: Endpoint | None) -> str | None:
        return None if endpoint is None else str(endpoint)

    own = (config.listen.phones_https or config.listen.phones_mtls) is not None and config.tls.certificate is None
    ready = {
        "pid": os.getpid(),
        "phones_http": shown(listening.phones_http),
        "phones_https": shown(listening.phones_https),
        "phones_mtls": shown(listening.phones_mtls),
        "phones_legacy": shown(listening.phones_legacy),
        "management": shown(listening.management),
        "ca_file": str(config.ca_file.resolve()) if own else None,
    }
    write_private(config.ready_file, json.dumps(ready, indent=2) + "\n")
    announce(listening, known)


# Worker processes


def _supervise(
    config: Config,
    known: Vendors,
    listening: Listening,
    metrics: Metrics,
    nonces: NonceUses,
    ready: Callable[[], None],
) -> None:
    """Forks the workers, replaces one that dies, passes signals on."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    # Its end of file tells the workers that this process is gone, whatever ended it.
    alive_read, alive_write = os.pipe()
    told_read, told_write = os.pipe()

    def start(worker: int) -> int:
        child = os.fork()
        if child:
            return child
        os.close(alive_write)
        os.close(told_read)
        for held in listening.held:
            held.close()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        code = 1
        try:
            work = _work(
                config, known, listening, metrics, nonces, worker, lambda: os.write(told_write, b"."), alive_read
            )
            uvloop.run(work)
            code = 0
        except Exception:
            log.exception("worker %d broke", worker)
        finally:
            sys.stdout.flush()
            os._exit(code)

    children = {start(worker): worker for worker in range(config.server.workers)}
    os.set_blocking(told_read, False)
    listen_seen, stopping = 0, 0.0
    while children:
        got = signal.sigtimedwait(_SIGNALS, 0.1 if listen_seen < config.server.workers or stopping else 60.0)
        if listen_seen < config.server.workers and not stopping:
            with contextlib.suppress(BlockingIOError):
                listen_seen += len(os.read(told_read, 64))
                if listen_seen == config.server.workers:
                    ready()
        number = got.si_signo if got is not None else 0
        if number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            for child in children:
                os.kill(child, signal.SIGTERM if number == signal.SIGINT else number)
            if number != signal.SIGHUP:
                stopping = time.monotonic() + STOP_SECONDS
        if stopping and time.monotonic() > stopping:
            for child in children:
                os.kill(child, signal.SIGKILL)
        for child, worker in list(children.items()):
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                del children[child]
                if not stopping:
                    log.error("worker %d ended (%d); starting another", worker, os.waitstatus_to_exitcode(status))
                    time.sleep(0.5)
                    children[start(worker)] = worker


async def _work(
    config: Config,
    known: Vendors,
    listening: Listening,
    metrics: Metrics,
    nonces: NonceUses,
    worker: int,
    ready: Callable[[], object],
    alive: int | None = None,
) -> None:
    """One worker process: every listener, and a share of the resyncs."""
    loop = asyncio.get_running_loop()
    metrics.belong_to(worker)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if alive is not None:
        loop.add_reader(alive, stop.set)
    async with contextlib.AsyncExitStack() as stack:
        running = await _start(stack, config, known, listening, metrics, nonces, worker)
        reloads: set[asyncio.Task[None]] = set()
        loop.add_signal_handler(signal.SIGHUP, lambda: reloads.add(loop.create_task(running.reload())))
        ready()
        await stop.wait()
        if alive is not None:
            loop.remove_reader(alive)
        loop.remove_signal_handler(signal.SIGHUP)


@dataclass(slots=True)
class _Running:
    config: Config
    listening: Listening
    management: Management
    documents: Documents
    proving: Proving
    phones: PhonesListener
    sockets: dict[Kind, socket.socket]

    async def reload(self) -> None:
        """SIGHUP: certificates, catalogue and templates. A fault leaves everything as it was."""
        try:
            known = await asyncio.to_thread(load_vendors, self.config)
            await asyncio.to_thread(_fit_slots, self.config, known)
            shown = load_certificates(self.config, known)
            anew = contexts(self.config, shown)
        except Fault as fault:
            log.error("nothing was reloaded: %s", fault)  # noqa: TRY400  its text is made for the log
            return
        its = installation.site(self.config, known, self.listening.phones_https, self.listening.phones_http)
        self.documents.reload(known, its, Firmware(self.config.paths.firmware, known.images))
        self.proving.certificates = shown
        self.management.vendors, self.management.site = known, its
        # New ones, for a context that has a CA keeps it; handshakes under way end with the old.
        for kind, context in anew.items():
            self.phones.use(self.sockets[kind], context)
        log.info("reloaded: %d models", len(known.catalogue.models))


async def _start(
    stack: contextlib.AsyncExitStack,
    config: Config,
    known: Vendors,
    listening: Listening,
    metrics: Metrics,
    nonces: NonceUses,
    worker: int,
) -> _Running:
    """Opens things in the order in which they need each other; the stack closes them in reverse."""
    keys = KeyRing(config.key_file)
    database = Database(config.database_path)
    stack.push_async_callback(database.close)
    reader = PhoneReader(config.database_path, keys)
    stack.callback(reader.close)
    access_log = AccessLog(config.log.access)
    stack.callback(access_log.close)
    its = installation.site(config, known, listening.phones_https, listening.phones_http)

    recorder = Recorder(database, metrics, Reopening(config, keys), Strangers(Identifier(known.catalogue)))
    recorder.start()
    stack.push_async_callback(recorder.close)

    sip = sip_client(config)
    if sip is not None:
        stack.push_async_callback(sip.close)
    management: Management
    resync = ResyncWorker(
        database,
        reader,
        sip,
        lambda: management.vendors.catalogue,
        metrics,
        config.resync.concurrency,
        config.resync.t1,
    )
    management = Management(config, database, keys, reader, metrics, known, its, resync.claim, resync.tell)
    resync.start()
    stack.push_async_callback(resync.close)

    if config.registrar.locator:
        locator = KamailioLocator(config.registrar.locator.removeprefix("kamailio:"))
        stack.push_async_callback(locator.close)
        management.locate = locator.locate
        if worker == 0:
            watch = RegistrationWatch(database, locator)
            watch.start()
            stack.push_async_callback(watch.close)

    if config.registrar.password_hook:
        hook = PasswordHook(
            database, keys, config.registrar.password_hook, config.registrar.password_token, config.resync.deadline
        )
        hook.start()
        stack.push_async_callback(hook.close)

    shown = load_certificates(config, known)
    limits = config.limits
    guard = Guard(
        FailureLimits(
            limits.failures_per_address,
            limits.failures_per_network,
            limits.failures_per_mac,
            limits.failures_per_prefix,
            limits.failure_minutes * 60,
        )
    )
    login = Login(reader, keys, nonces)
    proving = Proving(config, database, reader, keys, login, shown, guard)
    documents = Documents(
        config=config,
        database=database,
        vendors=known,
        site=its,
        firmware=Firmware(config.paths.firmware, known.images),
        reader=reader,
        proving=proving,
        login=login,
        guard=guard,
        recorder=recorder,
        etag_key=keys.signing_key,
        access_log=access_log,
        metrics=metrics,
    )
    if listening.management is not None:
        listener = ManagementListener(application(management))
        stack.push_async_callback(listener.close)
        await listener.start(_listen(listening.management, "[listen] management"))

    phones = PhonesListener(
        documents.answer,
        connections=config.limits.connections,
        connections_per_address=config.limits.connections_per_address,
        answers=config.limits.answers,
        handshake=config.limits.handshake,
        request=config.limits.request,
        trusted=config.network.trusted_proxies,
        metrics=metrics,
    )
    stack.push_async_callback(phones.close)
    its_contexts = contexts(config, shown)
    sockets: dict[Kind, socket.socket] = {}
    for name, kind in LISTENERS.items():
        endpoint: Endpoint | None = getattr(listening, name)
        if endpoint is not None:
            sockets[kind] = _listen(endpoint, f"[listen] {name}")
            phones.add(sockets[kind], its_contexts.get(kind), kind)
    return _Running(config, listening, management, documents, proving, phones, sockets)


def _allow_connections(config: Config) -> None:
    """Every connection is a file descriptor, and the usual limit of 1024 is a street's too few."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = config.limits.connections + _OTHER_FILES
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
    if hard < wanted:
        log.warning(
            "[limits] connections: %d needs %d open files, the system allows %d", wanted - _OTHER_FILES, wanted, hard
        )


def _logging(config: Config) -> None:
    logging.basicConfig(
        level=config.log.level.upper(), format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr
    )
    # It prints a traceback for each malformed request; what breaks in a handler is logged by us.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
