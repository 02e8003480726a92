"""What is looked at: the addresses, and what the configuration says of them."""

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from provisioning.config import Config
from provisioning.doctor.asking import Answer, Api, endpoint
from provisioning.domain import address as addresses


@dataclass(frozen=True, slots=True)
class Target:
    config: Config
    ready: dict[str, Any]
    "What the running server told of itself; empty where it does not run, or runs elsewhere."
    url: str
    "The phones' URL."
    http_url: str
    "Empty: plain HTTP is off."
    management: str
    "Empty: it is off."
    token_file: Path
    token: str = field(repr=False)
    "Empty: it could not be read."
    authorities: Path | None
    "The CA file that was given."

    @property
    def host(self) -> str:
        return endpoint(self.url)[0]

    @property
    def api(self) -> Api:
        return Api(self.management, self.token, self.management_tls)

    @property
    def management_tls(self) -> ssl.SSLContext | None:
        """Verified, for the token goes through it."""
        return self.trust() if self.management.startswith("https:") else None

    def trust(self) -> ssl.SSLContext:
        """As a phone or browser that knows the system's CAs, or the one that was given, and our own."""
        if self.authorities is not None:
            return ssl.create_default_context(cafile=self.authorities)
        context = ssl.create_default_context()
        if self.config.tls.certificate is None and self.config.ca_file.is_file():
            context.load_verify_locations(self.config.ca_file)
        return context

    def bypasses_the_proxy(self, url: str, answer: Answer) -> bool:
        """We are where a trusted proxy is, and talk to the server itself: it takes us for the proxy."""
        ports = {str(its).rpartition(":")[2] for name, its in self.ready.items() if name.startswith("phones_") and its}
        trusted = addresses.within(answer.ours, self.config.network.trusted_proxies)
        return trusted and str(endpoint(url)[1]) in ports
