"""Basic and Digest as a phone sends them, made from RFC 7617 and RFC 7616 with nothing of the server's."""

import base64
import hashlib
import re

REALM = "phone provisioning"
NONCE = re.compile(r'nonce="([^"]*)"')


def basic(user: str, password: str) -> str:
    return "Authorization: Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def digest(
    user: str,
    password: str,
    uri: str,
    nonce: str,
    *,
    algorithm: str = "MD5",
    nc: str | None = "00000001",
    method: str = "GET",
    told_uri: str | None = None,
) -> str:
    """`nc` None: as before RFC 2617. `told_uri`: written into the header instead of what was hashed."""

    def hashed(text: str) -> str:
        return hashlib.new(algorithm.replace("SHA-256", "sha256"), text.encode()).hexdigest()

    ha1, ha2 = hashed(f"{user}:{REALM}:{password}"), hashed(f"{method}:{uri}")
    middle = f"{nonce}:{nc}:c0ffee:auth" if nc else nonce
    count = f', qop=auth, nc={nc}, cnonce="c0ffee"' if nc else ""
    return (
        f'Authorization: Digest username="{user}", realm="{REALM}", nonce="{nonce}", uri="{told_uri or uri}", '
        f'response="{hashed(f"{ha1}:{middle}:{ha2}")}", algorithm={algorithm}{count}'
    )


def nonce_of(head: bytes, algorithm: str = "MD5") -> str:
    """Of a challenge; a KeyError where none is offered."""
    for line in head.decode("latin-1").split("\r\n"):
        name, _, value = line.partition(": ")
        if name.lower() == "www-authenticate" and f"algorithm={algorithm}" in value and (found := NONCE.search(value)):
            return found[1]
    raise KeyError(f"no {algorithm} challenge in {head[:60]!r}")
