"""What a phone's request is answered: the whole way of a fetch, in one handler.

path → MAC and secret → proof → document → the cached bytes of exactly this revision, or rendered
anew → bytes; then, behind the answer, the visit.
"""

import functools
import logging
import sqlite3
import time
from collections.abc import Mapping
from dataclasses import replace

from aiohttp import hdrs, web
from sqlalchemy.exc import SQLAlchemyError

from provisioning.config import Config
from provisioning.domain import address as addresses
from provisioning.domain.address import Address
from provisioning.domain.catalogue import CONTENT_CODINGS, Document, Model
from provisioning.domain.errors import Fault
from provisioning.domain.guard import Guard, refusal_line
from provisioning.domain.identification import Identifier
from provisioning.domain.mac import Mac
from provisioning.metrics import Metrics
from provisioning.phones import request as requests
from provisioning.phones import response as ready
from provisioning.phones import uploads
from provisioning.phones.access_log import AccessLog
from provisioning.phones.cache import Cache, Rendered
from provisioning.phones.connection import Connection
from provisioning.phones.firmware import Firmware
from provisioning.phones.login import Login
from provisioning.phones.proving import Proving
from provisioning.phones.recorder import Recorder
from provisioning.phones.request import Asked
from provisioning.phones.response import Ready
from provisioning.rendering import compose, encryption
from provisioning.rendering.compose import Site
from provisioning.rendering.encoders import Unencodable
from provisioning.store import uploads as stored_uploads
from provisioning.store.database import Database
from provisioning.store.fetch import Found, PhoneReader
from provisioning.store.phones import join_addresses
from provisioning.store.secrets import etag, fingerprint
from provisioning.store.visits import Refusal, Visit
from provisioning.vendors import Vendors

log = logging.getLogger(__name__)
refusals = logging.getLogger("provisioning.guard")

_METHODS = (hdrs.METH_GET, hdrs.METH_HEAD)
_UPLOAD_SECONDS = 3.0
"Times the deadline of a request: a phone sends its log while it starts."
_PLAIN = {"Server": ready.SERVER, "Content-Type": "text/plain; charset=utf-8"}
# The same for every path, so that it tells nothing.
_NOT_FOUND = b"not found\n"
_LONGEST_AGENT = 256


class Documents:
    """Answers phones. Its only state is what it rendered."""

    def __init__(
        self,
        *,
        config: Config,
        database: Database,
        vendors: Vendors,
        site: Site,
        firmware: Firmware,
        reader: PhoneReader,
        proving: Proving,
        login: Login,
        guard: Guard,
        recorder: Recorder,
        etag_key: bytes,
        access_log: AccessLog,
        metrics: Metrics,
    ) -> None:
        self._database = database
        self._request_seconds = config.limits.request
        self._reader = reader
        self._proving = proving
        self._login = login
        self._guard = guard
        self._recorder = recorder
        self._etag_key = etag_key
        self._cache_bytes = config.limits.cache_bytes
        self._trusted = config.network.trusted_proxies
        self._access_log = access_log
        self._metrics = metrics
        self.reload(vendors, site, firmware)

    def reload(self, vendors: Vendors, site: Site, firmware: Firmware) -> None:
        """Another catalogue: everything rendered so far is forgotten."""
        self._catalogue = vendors.catalogue
        self._renderer = vendors.renderer
        self._site = site
        self._firmware = firmware
        self._cache = Cache(self._cache_bytes)
        self._common = {
            shape: self._stage0(document, model) for shape, (model, document) in self._catalogue.common.items()
        }
        self._identifier = Identifier(vendors.catalogue)
        self._recorder.strangers.identifier = self._identifier
        # What a User-Agent says costs a few regular expressions, and phones repeat it all their lives.
        self._said = functools.lru_cache(maxsize=4096)(self._identifier.of_agent)
        self._strangers: dict[tuple[str, str, str], Rendered | None] = {}
        self._uploads: set[str] = set()
        for vendor in self._catalogue.vendors:
            for model in reversed(vendor.models):
                self._uploads |= model.family.uploads.keys()
                for shape, document in model.documents.items():
                    if "{mac}" in shape:
                        # A phonebook is not emptied for want of a proof; it is just not there.
                        silent = document.holds == "contacts" or document.proof_only
                        blank = None if silent else self._stage0(document, model)
                        self._strangers[vendor.folder, "", shape] = blank
                        self._strangers[vendor.folder, model.family.name, shape] = blank

    async def answer(self, request: web.BaseRequest, connection: Connection) -> web.StreamResponse | Ready:
        started = time.perf_counter()
        asked = requests.read(request.raw_path)
        peer = connection.proxied_for if connection.proxied else _peer(request)
        forwarded = request.headers.getall(hdrs.X_FORWARDED_FOR, ()) if self._trusted else ()
        address = peer if not self._trusted else addresses.client(peer, forwarded, self._trusted)
        proof: str = "-"
        visit: Visit | None = None
        try:
            uploads = asked is not None and asked.mac is not None and asked.shape in self._uploads
            if request.method not in _METHODS and not (uploads and request.method == hdrs.METH_PUT):
                allowed = "GET, HEAD, PUT" if uploads else "GET, HEAD"
                response: web.StreamResponse | Ready = _plain(405, b"method not allowed\n", {"Allow": allowed})
            elif asked is None:
                response = _plain(404, _NOT_FOUND)
            elif asked.firmware:
                response = await self._image(request, asked)
            elif (common := self._common.get(asked.name.lower())) is not None:
                # Before any MAC is looked for: the digits of y000000000066.cfg are none.
                response = self._respond(request, self._below(asked) or common)
            elif asked.mac is None:
                response = _plain(404, _NOT_FOUND)
            else:
                response, visit = await self._own(request, asked, asked.mac, address, connection)
                proof = "-" if visit is None else visit.proof
        except ConnectionError:
            # The phone went away in the middle of an image.
            raise
        except (SQLAlchemyError, sqlite3.Error) as error:
            # Nothing was burnt or lost: a one-time token is the only thing that is written before the answer.
            log.warning("the database cannot be used for a phone: %s", type(error).__name__)
            response = _plain(503, b"try again\n", {"Retry-After": "5"})
        except Exception as error:  # noqa: BLE001  whatever is broken, the phone gets an answer
            # The exception's text may hold a phone's values, so only its place is told.
            log.error(  # noqa: TRY400
                "%s cannot be served to %s: %s",
                requests.redacted(asked.name) if asked else "a path",
                (asked and asked.mac) or "?",
                _place(error),
            )
            response = _plain(500, b"this configuration is broken; the operator has been told\n")
        if response.status == 404:
            self._metrics.count("not_found_total")
        elif response.status >= 500:
            self._metrics.count("broken_total")
        await response.prepare(request)
        await response.write_eof()
        if request.method == hdrs.METH_PUT:
            request.protocol.expect_body(0)  # type: ignore[attr-defined]  # of our own listener
        if visit is not None:
            self._recorder.visit(visit)
        if self._access_log.enabled:
            self._access_log.write(
                "-" if address is None else _spelled(address),
                request.method,
                _shown_path(asked, request.raw_path),
                response.status,
                response.body_length,
                time.perf_counter() - started,
                proof,
            )
        return response

    async def _own(
        self, request: web.BaseRequest, asked: Asked, mac: Mac, address: Address | None, connection: Connection
    ) -> tuple[web.Response | Ready, Visit | None]:
        """A document with a MAC in its name."""
        found, proof, reason, wrong_codes = await self._proving.prove(request, asked, mac, address, connection)
        if found is None or proof is None:
            return self._strange(request, asked, mac, address, connection, reason, wrong_codes), None
        self._guard.proved(time.monotonic())
        model = self._catalogue.models.get(found.model)
        if model is None:
            raise Fault(f"the model {found.model} is in no vendor's folder any more")
        now = time.time()
        public_ip = None if address is None else _spelled(address)
        agent = _agent(request)
        news = found.fetched_revision < found.revision
        visit = Visit(
            found.id,
            now,
            public_ip,
            agent,
            moved_from=found.public_ip if public_ip is not None and found.public_ip != public_ip else None,
            proof=proof,
            first_shown=found.secret_hash if found.secret_hash is not None and found.shown_at is None else None,
            found_again=found.secret_lost_at is not None and proof in ("secret", "password"),
        )
        if agent and agent != found.user_agent:
            visit = visit._replace(mismatch=self._identifier.mismatch(agent, mac, model) or None)
        document = model.documents.get(asked.shape)
        if document is None or request.method == hdrs.METH_PUT:
            return await self._uploaded(request, asked, found, model), visit
        rendered = self._cache.get(found.id, asked.shape, found.revision)
        if rendered is None:
            rendered = self._render(found, model, document)
            self._cache.put(found.id, asked.shape, rendered)
        if news and document.lines and request.method == hdrs.METH_GET:
            # Also when it is unchanged (304): then the phone has it already.
            visit = visit._replace(
                revision=rendered.revision,
                addresses=rendered.addresses,
                document=document.name_for(mac),
                keyed_by=rendered.keyed_by,
            )
        if rendered.cipher and (document.always_encrypted or _has_the_key(found)):
            rendered = self._encrypted(found, document, rendered, rendered.cipher, asked.secret)
        return self._respond(request, rendered), visit

    def _encrypted(
        self, found: Found, document: Document, plain: Rendered, cipher: str, shown: str | None
    ) -> Rendered:
        """With the key that the phone has: of the secret that it showed, else of its newest."""
        secret = shown or self._reader.secret(found.id, found.mac)
        if secret is None:
            return plain
        variant = f"{document.shape}#{fingerprint(secret).hex()}"
        encrypted = self._cache.get(found.id, variant, plain.revision)
        if encrypted is None:
            body = encryption.encrypt(cipher, plain.body, compose.encryption_key(secret))
            encrypted = self._rendered(plain.revision, document, body, plain.addresses)
            if cipher in CONTENT_CODINGS:
                encrypted = replace(encrypted, head=ready.coded(encrypted.head, cipher))
            self._cache.put(found.id, variant, encrypted)
        return encrypted

    async def _uploaded(
        self, request: web.BaseRequest, asked: Asked, found: Found, model: Model
    ) -> web.Response | Ready:
        """A file of the phone's own making: taken, or given back."""
        upload = model.family.uploads.get(asked.shape)
        if upload is None:
            return _plain(404, _NOT_FOUND)
        if request.method != hdrs.METH_PUT:
            body = self._reader.upload(found.id, upload.shape) if upload.readable else None
            if body is None:
                return _plain(404, _NOT_FOUND)
            tag = etag(self._etag_key, body)
            return self._respond(
                request, Rendered(0, ready.head("200 OK", "application/octet-stream", tag, len(body)), body, tag, "")
            )
        try:
            body = await uploads.read(request, upload, _UPLOAD_SECONDS * self._request_seconds)
        except uploads.Unwanted as unwanted:
            response = _plain(unwanted.status, unwanted.told)
            response.force_close()
            return response
        await self._database.write(stored_uploads.put, found.id, upload.shape, body, time.time())
        self._metrics.count("uploads_taken_total")
        return _plain(204, b"")

    def _strange(
        self,
        request: web.BaseRequest,
        asked: Asked,
        mac: Mac,
        address: Address | None,
        connection: Connection,
        reason: str,
        wrong_codes: int,
    ) -> web.Response | Ready:
        """No proof: an answer chosen from the request alone, and from how often such requests came."""
        if reason == "burnt":
            self._metrics.count("alarms_raised_total")
        vendor, stage0, known = self._catalogue.of_prefix(mac), None, False
        agent = _agent(request)
        if vendor is not None:
            said = self._said(agent)
            model = self._catalogue.models.get(said.model or "")
            family = model.family.name if model is not None and model.vendor == vendor.folder else ""
            key = (vendor.folder, family, asked.shape)
            if key not in self._strangers:
                key = (vendor.folder, "", asked.shape)
            known = key in self._strangers or asked.shape in self._uploads
            stage0 = self._strangers.get(key) if request.method != hdrs.METH_PUT else None
        # Who is asked for a password below /login/ has not failed before he gives one.
        if hdrs.AUTHORIZATION in request.headers if asked.login else vendor is None or known:
            public_ip = None if address is None else _spelled(address)
            name = requests.redacted(asked.name)
            self._recorder.refusal(Refusal(mac, time.time(), public_ip, name, reason, wrong_codes, agent))
            if not self._proving.on_trial(address):
                verdict = self._guard.failed(address, mac, time.monotonic())
                self._metrics.count("strangers_refused_total")
                refusals.info(refusal_line(address, verdict.reason or reason, mac, name))
                for alarm in verdict.alarms:
                    self._recorder.alarm(alarm)
                if verdict.limit is not None:
                    self._metrics.count("strangers_limited_total")
                    return _plain(429, b"too many requests\n", {"Retry-After": str(self._guard.retry_after)})
        if asked.login:
            basic = self._proving.channel(request, connection) != "clear"
            refused = _plain(401, b"a user name and password are needed\n")
            for challenge in self._login.challenges(mac, basic=basic):
                refused.headers.add(hdrs.WWW_AUTHENTICATE, challenge)
            return refused
        if stage0 is None:
            return _plain(404, _NOT_FOUND)
        self._metrics.count("stage0_served_total")
        return self._respond(request, stage0)

    def _render(self, found: Found, model: Model, document: Document) -> Rendered:
        """The lines are read after the revision: they can only be newer than it says, never older.

        A phone that was returned is told that it has none, and no secret.
        """
        held = self._reader.held(found.id, self._site.settings, contacts=document.holds == "contacts")
        held = replace(held, revision=found.revision)
        secret = self._reader.secret(found.id, found.mac) if found.returned_at is None else None
        values = compose.stage1(self._site, model, found.mac, secret, held)
        body = self._renderer.render(document, model, values)
        self._metrics.count("documents_rendered_total")
        attached = join_addresses(line.address_of_record for _, line in held.lines)
        rendered = self._rendered(found.revision, document, body, attached)
        coded = document.content_encryption if held.chosen["http_content_encryption"] else None
        told = secret if values.phone.encryption_key else None
        return replace(
            rendered,
            cipher=coded or document.encryption,
            keyed_by=None if told is None else fingerprint(told),
        )

    def _below(self, asked: Asked) -> Rendered | None:
        """A document that tells the directory it was asked in: what is shown there is said again, and not looked up."""
        model, document = self._catalogue.common[asked.name.lower()]
        shown = asked.secret or asked.code or (requests.LOGIN if asked.login else "")
        if document.holds != "directory" or not shown:
            return None
        below = compose.stage0(replace(self._site, url=f"{self._site.url}/{shown}"), model)
        return self._rendered(0, document, self._renderer.render(document, model, below), "")

    def _stage0(self, document: Document, model: Model) -> Rendered:
        body = self._renderer.render(document, model, compose.stage0(self._site, model))
        return self._rendered(0, document, body, "")

    def _rendered(self, revision: int, document: Document, body: bytes, attached: str) -> Rendered:
        tag = etag(self._etag_key, body)
        head = ready.head("200 OK", document.content_type, tag, len(body))
        return Rendered(revision, head, body, tag, attached)

    def _respond(self, request: web.BaseRequest, rendered: Rendered) -> Ready:
        if requests.has_already(request.headers.get(hdrs.IF_NONE_MATCH), rendered.etag):
            self._metrics.count("documents_unchanged_total")
            return Ready(304, ready.head("304 Not Modified", "", rendered.etag, 0), b"")
        self._metrics.count("documents_served_total")
        return Ready(200, rendered.head, rendered.body)

    async def _image(self, request: web.BaseRequest, asked: Asked) -> web.StreamResponse:
        image = self._firmware.find(asked.name)
        if image is None:
            return _plain(404, _NOT_FOUND)
        self._metrics.count("firmware_served_total")
        return await self._firmware.send(request, image)


def _has_the_key(found: Found) -> bool:
    """It shows the secret of which the key is made that it last fetched. Where encryption was switched off since,
    it learns that in a file that it can still read.
    """
    return found.keyed_by is not None and found.keyed_by == found.secret_hash


def _agent(request: web.BaseRequest) -> str:
    return request.headers.get(hdrs.USER_AGENT, "")[:_LONGEST_AGENT]


def _plain(status: int, body: bytes, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(status=status, body=body, headers=_PLAIN if headers is None else {**_PLAIN, **headers})


def _peer(request: web.BaseRequest) -> Address | None:
    transport = request.transport
    name = None if transport is None else transport.get_extra_info("peername")
    return _parsed(name[0]) if name else None


@functools.lru_cache(maxsize=65_536)
def _parsed(text: str) -> Address:
    return addresses.parse(text)


@functools.lru_cache(maxsize=65_536)
def _spelled(address: Address) -> str:
    return str(address)


def _shown_path(asked: Asked | None, raw_path: str) -> str:
    if asked is None:
        return requests.redacted(raw_path)
    folder = "firmware/" if asked.firmware else ""
    # A URL that ends with the secret has it for its name.
    name = requests.redacted(asked.name)
    if asked.secret or asked.code:
        return f"/-/{folder}{name}"
    return f"/{requests.LOGIN}/{folder}{name}" if asked.login else f"/{folder}{name}"


def _place(error: BaseException) -> str:
    """Where an error arose, without its text, which may hold a secret."""
    step = error.__traceback__
    while step is not None and step.tb_next is not None:
        step = step.tb_next
    where = "" if step is None else f" at {step.tb_frame.f_code.co_filename}:{step.tb_lineno}"
    # These two are made for people, and hold no value.
    told = f": {error}" if isinstance(error, Fault | Unencodable) else ""
    return f"{type(error).__name__}{where}{told}"
