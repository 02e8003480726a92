"""Whether a request may have a phone's lines. The one place where that is decided.

Nothing here depends on whether a MAC exists: secrets, tokens, codes and doors are looked up by what
the request shows, never the phone by its MAC, so that a stranger's request takes the same way for a
phone that exists and one that does not.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

from provisioning.domain.mac import Mac

Proof = Literal["certificate", "secret", "password", "bootstrap", "code", "door"]
"""certificate: the factory's, by mutual TLS. secret: the phone's own, in its URL. password: the same
by Basic or Digest. bootstrap: a one-time token in the URL. code: six digits typed on the phone.
door: the MAC comes from a place where a door is open for it."""

PROOFS: tuple[Proof, ...] = get_args(Proof)
"The strongest first."

ONE_TIME: frozenset[Proof] = frozenset(("bootstrap", "code"))
"Burnt in a transaction of its own before anything is answered (store.binding)."

Channel = Literal["tls", "legacy", "clear"]
"legacy: TLS older than 1.2, from the listener that is named so."

Reason = Literal[
    "proved", "no-proof", "foreign", "switched-off", "legacy", "unencrypted", "burnt", "expired", "gone"
]
"The last three are of one-time tokens and codes, and found out where they are burnt."


def narrowed(*choices: Collection[str] | None) -> frozenset[Proof]:
    """What operator, model and account all accept; None has no opinion."""
    return frozenset(proof for proof in PROOFS if all(choice is None or proof in choice for choice in choices))


class Shown(NamedTuple):
    """Whose proofs a request shows beside the MAC it asks for; each one is genuine already.

    A tuple, for one is made on every fetch.
    """

    certificate: Mac | None = None
    secret: Mac | None = None
    password: Mac | None = None
    bootstrap: Mac | None = None
    code: Mac | None = None
    door: Mac | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for the phone that a proof names, and for the connection it came over."""

    accepted: Collection[Proof] = PROOFS
    "By the phone's model and account."
    channel: Channel = "tls"
    legacy: bool = False
    "The model may have lines over TLS older than 1.2."
    clear: bool = False
    "Lines may go unencrypted to where this request comes from."


@dataclass(frozen=True, slots=True)
class Decision:
    proof: Proof | None
    "None: stage 0."
    reason: Reason


_NO_PROOF = Decision(None, "no-proof")
_FOREIGN = Decision(None, "foreign")
_PROVED = {proof: Decision(proof, "proved") for proof in PROOFS}


def decide(asked: Mac, shown: Shown, terms: Terms) -> Decision:
    """By which proof the lines of `asked` leave; without one, why not."""
    refused = _NO_PROOF
    for proof in PROOFS:
        of = getattr(shown, proof)
        if of is None:
            continue
        if of != asked:
            # Another phone's proof proves nothing, and takes no other one away.
            refused = _FOREIGN if refused is _NO_PROOF else refused
        elif proof not in terms.accepted:
            refused = Decision(None, "switched-off")
        elif terms.channel == "legacy" and not terms.legacy:
            return Decision(None, "legacy")
        elif terms.channel == "clear" and not terms.clear:
            return Decision(None, "unencrypted")
        else:
            return _PROVED[proof]
    return refused
