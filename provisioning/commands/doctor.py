"""doctor: a running installation, looked at from outside"""

import argparse
import json
import signal
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from provisioning.commands.output import common, load_beside
from provisioning.config import Config, Endpoint
from provisioning.domain.errors import Fault

if TYPE_CHECKING:
    from provisioning.doctor.finding import Finding
    from provisioning.doctor.target import Target

_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  compared with, not bound to


def add(commands: Any) -> None:
    doctor = commands.add_parser(
        "doctor",
        help="probe a running installation from outside; exit code 1 if something is bad",
        description="Looks at a running installation as a stranger on the network and as the operator: TLS, forged "
        "headers through the real proxy, plain HTTP, default passwords, doors left open. For a while there is a test "
        "account of its own, doctor-..., with phones and lines that reach nobody. What is not given is taken from the "
        "configuration and from what the running server says in its data directory.",
    )
    common(doctor)
    doctor.add_argument("--url", type=_url, help="what phones reach, such as https://phones.example.net")
    doctor.add_argument("--http-url", type=_url, help="the same by plain HTTP")
    doctor.add_argument("--management", type=_url, metavar="URL", help="the management API")
    doctor.add_argument("--token-file", type=Path, metavar="FILE", help="an operator's token of the scope admin")
    doctor.add_argument("--ca", type=Path, metavar="FILE", help="PEM file of the CA to trust, instead of the system's")
    doctor.set_defaults(run=run_doctor)


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query or parts.fragment:
        raise ValueError
    return text.rstrip("/")


def run_doctor(arguments: argparse.Namespace) -> int:
    # Other commands do without its time.
    from provisioning.doctor.examination import Examination  # noqa: PLC0415

    examination = Examination(_target(arguments))
    if threading.current_thread() is threading.main_thread():
        # As Ctrl-C does: the test objects are taken away first.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        examination.run()
    except KeyboardInterrupt:
        _show(arguments, examination.found)
        raise
    _show(arguments, examination.found)
    return int(any(finding.verdict == "bad" for finding in examination.found))


def _target(arguments: argparse.Namespace) -> "Target":
    from provisioning.doctor.target import Target  # noqa: PLC0415  as above

    config = load_beside(arguments)
    ready = _ready(config)
    listening = {name: _endpoint(config, ready, name) for name in ("phones_https", "phones_http", "management")}
    if arguments.ca is not None and not arguments.ca.is_file():
        raise Fault(f"--ca {arguments.ca}: is no file")
    url = arguments.url or config.phones.url.rstrip("/") or _at("https", listening["phones_https"])
    token_file = arguments.token_file or config.token_file
    return Target(
        config=config,
        ready=ready,
        url=url or _at("http", listening["phones_http"]),
        http_url=arguments.http_url or _at("http", listening["phones_http"]),
        management=arguments.management or _at("http", listening["management"]),
        token_file=token_file,
        token=_token(token_file, given=arguments.token_file is not None),
        authorities=arguments.ca,
    )


def _ready(config: Config) -> dict[str, Any]:
    """What the running server wrote; it is gone with the server."""
    try:
        found: dict[str, Any] = json.loads(config.ready_file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found


def _endpoint(config: Config, ready: dict[str, Any], name: str) -> Endpoint | None:
    """With the port that is really bound."""
    configured: Endpoint | None = getattr(config.listen, name)
    if name not in ready:
        return configured if configured is not None and configured.port else None
    told = ready[name]
    if told is None:
        return None
    parts = urlsplit(f"//{told}")
    return Endpoint(parts.hostname or "", parts.port or 0)


def _at(scheme: str, endpoint: Endpoint | None) -> str:
    if endpoint is None:
        return ""
    return f"{scheme}://{Endpoint(_WILDCARDS.get(endpoint.host, endpoint.host), endpoint.port)}"


def _token(path: Path, *, given: bool) -> str:
    try:
        token = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        if given:
            raise Fault(f"--token-file {path}: cannot be read ({type(error).__name__})") from None
        return ""
    return token if token.isprintable() else ""


def _show(arguments: argparse.Namespace, found: Sequence["Finding"]) -> None:
    if arguments.json:
        print(json.dumps([asdict(finding) for finding in found], ensure_ascii=False, indent=2))
        return
    width = max((len(finding.probe) for finding in found), default=0)
    for finding in found:
        print(f"{finding.verdict:<10}  {finding.probe:<{width}}  {finding.seen}")
        if finding.advice is not None:
            print(f"{'':<10}  {'':<{width}}  -> {finding.advice}")
    counts = Counter(finding.verdict for finding in found)
    print("\n" + ", ".join(f"{counts[verdict]} {verdict}" for verdict in ("ok", "warning", "bad", "not probed")))
