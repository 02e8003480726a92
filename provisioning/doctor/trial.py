"""A test account with phones and lines of its own, which is taken away again whatever happens.

Its phones have locally administered MACs and a model that cannot be told to fetch, so that nothing
of them reaches a customer's phone or the SIP proxy.
"""

import secrets
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from provisioning.doctor.asking import Answer, Api, Fields, Refusal, Unreachable, ask, named
from provisioning.doctor.finding import Finding, NotProbed, bad, ok
from provisioning.doctor.target import Target

DOMAIN = "doctor.invalid"
"RFC 2606: a name that is nobody's."
AGENT = "provisioning-doctor"
_TRIES = 3
_RECORDED_WITHIN = 5.0


@dataclass(frozen=True, slots=True)
class Phone:
    mac: str
    document: str
    "The file name of the one with its lines."
    secret: str = field(repr=False)
    marker: bytes = field(repr=False)
    "Stands in its configuration, and nowhere else."

    def fetch(self, base: str, *, agent: str = AGENT, fields: Fields = (), first: bytes = b"") -> Answer:
        """As the phone does. Unreachable."""
        url = f"{base}/{self.secret}/{self.document}"
        return ask(url, fields=[("User-Agent", agent), *fields], first=first)


class Trial:
    """`removed` is the finding of its end."""

    def __init__(self, target: Target) -> None:
        self._api: Api = target.api
        # A detach would hand such a line's new password to the registrar, which does not know it.
        self._with_lines = not target.config.registrar.password_hook
        self.name = f"doctor-{secrets.token_hex(4)}"
        self._paths: list[str] = []
        self.removed: Finding | None = None

    def __enter__(self) -> Self:
        try:
            self._make("/v1/accounts", {"account": self.name, "name": "Test of provisioning doctor"}, self.name)
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def phone(self) -> Phone:
        """Refusal, Unreachable."""
        models = self._api.call("GET", "/v1/models")["items"]
        model = min(models, key=lambda its: (bool(its["capabilities"]), its["model"]))["model"]
        mac, password, line = f"02{secrets.token_hex(5)}", secrets.token_hex(16), None
        if self._with_lines:
            line = f"{self.name}-{mac[-4:]}"
            its = {"line": line, "account": self.name, "number": "0", "username": line, "domain": DOMAIN}
            its["password"] = password
            self._make("/v1/lines", its, line)
        new = {"mac": mac, "model": model, "account": self.name, "main_line": line}
        made = self._make("/v1/phones", new, mac)
        documents = self._api.call("GET", f"/v1/phones/{mac}/documents")
        document = next(its["path"] for its in documents if its["stage"] == 1)
        # The URL ends with a slash, or with a file name behind it.
        secret = made["provisioning_url"].rpartition("/")[0].rpartition("/")[2]
        return Phone(mac, document, secret, (password if line else secret).encode())

    def public_ip(self, phone: Phone, agent: str) -> str | None:
        """Where the server saw the fetch that had this User-Agent. NotProbed: it saw none."""
        deadline = time.monotonic() + _RECORDED_WITHIN
        while True:
            shown = self._api.call("GET", f"/v1/phones/{phone.mac}")
            if shown["user_agent"] == agent:
                seen: str | None = shown["public_ip"]
                return seen
            if time.monotonic() > deadline:
                raise NotProbed(
                    "the server did not record the test phone's fetch",
                    "Does the phones' URL lead to the same installation as the management API?",
                )
            time.sleep(0.1)

    def told(self, phone: Phone) -> list[dict[str, Any]]:
        """The phone's story."""
        return list(self._api.pages(f"/v1/phones/{phone.mac}/events"))

    def _make(self, path: str, body: dict[str, Any], name: str) -> dict[str, Any]:
        # Noted before: it may be made although the answer is lost.
        self._paths.append(f"{path}/{named(name)}")
        made: dict[str, Any] = self._api.call("POST", path, body)
        return made

    def _remove(self) -> None:
        left = []
        # In reverse: phones before the lines they held, the account last.
        for path in reversed(self._paths):
            why = self._gone(path)
            if why is not None:
                left.append(f"{path} ({why})")
        probe = "test objects"
        if left:
            seen = f"could not be removed: {', '.join(left)}"
            self.removed = bad(probe, seen, f"Remove them: they all belong to the account {self.name}.")
        else:
            self.removed = ok(probe, f"the account {self.name}, its phones and lines are removed again")

    def _gone(self, path: str) -> str | None:
        """None: it is. Otherwise why not."""
        why = "?"
        for _ in range(_TRIES):
            try:
                if path.startswith("/v1/phones/"):
                    self._empty(path)
                self._api.call("DELETE", path)
                return None
            except Refusal as refusal:
                if refusal.status == 404:
                    return None
                why = str(refusal)
            except (Unreachable, ValueError, KeyError) as error:
                why = str(error)
            time.sleep(0.5)
        return why

    def _empty(self, path: str) -> None:
        """No line and no open door."""
        shown = self._api.call("GET", path)
        if shown["door"] is not None:
            self._api.call("DELETE", f"{path}/door")
        for held in shown["lines"]:
            self._api.call("POST", f"/v1/lines/{named(held['line'])}/detach", {"force": True})
