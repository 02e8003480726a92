"""The data directory: what `init` makes, and what `serve` makes where nothing is yet."""

import os
import time
from pathlib import Path
from urllib.parse import urlsplit

from sqlalchemy import create_engine
from sqlalchemy.engine import URL

from provisioning import tls
from provisioning.config import Config, Endpoint
from provisioning.domain.errors import Fault
from provisioning.rendering.compose import Site
from provisioning.rendering.values import FirmwareValues
from provisioning.store import audit, database, tokens
from provisioning.store.secrets import new_key_file, write_private
from provisioning.vendors import Vendors

_WILDCARDS = ("0.0.0.0", "::")  # noqa: S104  compared with, not bound to


def prepare(config: Config, *, upgrade: bool) -> list[str]:
    """Makes what is missing; tells what it made. An older schema is upgraded only if asked to."""
    made = []
    directory = config.data.dir
    try:
        if not directory.exists():
            directory.mkdir(parents=True, mode=0o700)
            made.append(f"{directory}/")
        if not os.access(directory, os.W_OK | os.X_OK):
            raise Fault(f"[data] dir {directory}: cannot be written")
        made += _keys(config) + _database(config, upgrade=upgrade) + _certificate(config)
    except OSError as error:
        raise Fault(f"[data] dir {directory}: {error.strerror}: {error.filename}") from None
    return made


def _keys(config: Config) -> list[str]:
    if config.key_file.exists():
        return []
    if config.database_path.exists():
        # A new key would leave every stored secret closed for ever.
        raise Fault(f"{config.key_file}: is missing, but {config.database_path} needs it; restore it from a backup")
    new_key_file(config.key_file)
    return [str(config.key_file)]


def _database(config: Config, *, upgrade: bool) -> list[str]:
    path = config.database_path
    new = not path.exists()
    if new or upgrade:
        database.create_or_upgrade(path)
    database.check_schema(path)
    return ([str(path)] if new else []) + _admin_token(config, path)


def _admin_token(config: Config, path: Path) -> list[str]:
    engine = create_engine(URL.create("sqlite", database=str(path)))
    try:
        with engine.begin() as connection:
            if tokens.all_tokens(connection):
                return []
            now = time.time()
            token_id, token = tokens.add(connection, "admin", None, now)
            first = {"name": "admin", "scope": "admin"}
            audit.recorded(connection, audit.command_line(), now, "token.create", f"token {token_id}", None, first)
            write_private(config.token_file, token + "\n")
    finally:
        engine.dispose()
    return [str(config.token_file)]


def _certificate(config: Config) -> list[str]:
    if config.tls.certificate is not None:
        return []
    names = list(dict.fromkeys([phones_host(config), "localhost", "127.0.0.1", "::1"]))
    listen, made = config.listen, []
    for wanted, legacy, ca in (
        (listen.phones_https or listen.phones_mtls, False, config.ca_file),
        (listen.phones_legacy, True, config.legacy_ca_file),
    ):
        if wanted:
            made += [] if ca.exists() else [str(ca)]
            tls.make_own(config.data.dir, names, legacy=legacy)
    return made


def certificate(config: Config, *, legacy: bool = False) -> tuple[Path, Path]:
    """(certificate, key) of the HTTPS listeners, or of the legacy one."""
    if config.tls.certificate is not None and config.tls.key is not None:
        return config.tls.certificate, config.tls.key
    return tls.own(config.data.dir, legacy=legacy)


def listens_everywhere(config: Config) -> bool:
    """So that no address of the configuration is the one by which phones reach the server."""
    endpoint = config.listen.phones_https or config.listen.phones_http
    return endpoint is not None and endpoint.host in _WILDCARDS


def phones_host(config: Config) -> str:
    """The name by which phones reach the server, as far as the configuration says."""
    if config.phones.url:
        return urlsplit(config.phones.url).hostname or "localhost"
    endpoint = config.listen.phones_https or config.listen.phones_http
    if endpoint is None or listens_everywhere(config):
        return "127.0.0.1"
    return endpoint.host


def site(config: Config, known: Vendors, https: Endpoint | None, http: Endpoint | None) -> Site:
    """`https` and `http`: the phones' listeners, with the ports that are really theirs."""
    url = config.phones.url.rstrip("/")
    if not url:
        endpoint = https or http or Endpoint("", 0)
        scheme = "http" if https is None else "https"
        url = f"{scheme}://{Endpoint(phones_host(config), endpoint.port)}"
    images = {image.model: FirmwareValues(image.version, f"{url}/firmware/{image.file}") for image in known.images}
    return Site(url, config.phones.chosen, known.zones, images)
