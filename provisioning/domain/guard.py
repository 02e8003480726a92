"""How often a stranger may fail: counts of requests that proved nothing, in memory that is fixed.

    guard = Guard(FailureLimits())
    if proof is not None:
        guard.proved(now)                            # `now`: time.monotonic(), so clock jumps do nothing
    else:
        verdict = guard.failed(address, mac, now)    # verdict.limit: answer 429, Retry-After: guard.retry_after
        log.warning(refusal_line(address, verdict.reason or "no-proof", mac, redacted_path))
        for alarm in verdict.alarms: ...             # once a window each; the caller logs and stores them

Whoever proves what he is never comes here, so no stranger can shut a phone out. Nothing here knows
which MACs exist: a limit tells nothing. Before a credential is *tried* that could be guessed (a code
of a few digits), ask `guard.limit(...)`, or the right guess of a limited stranger would count.

A count is a count-min sketch (Cormode and Muthukrishnan, 2005) and no dictionary. A dictionary must
forget or ignore somebody once it is full, and filling it is the stranger's choice: he would clear his
own count, or guess on unwatched. A sketch has the same size always, and counts at least what
happened. Its error is on the safe side: with very many strangers at once it limits one of them too
early (of a thousand that fill their limits in one window, an innocent meets two by one in 4,000).

Time passes in windows of which the current and the one before count. So a limit of 20 in 10 minutes
holds in any 10 minutes, and a failure is forgotten after 10 to 20. Requests over a limit are not
counted by it: who comes back too early is not punished for it.
"""

import math
import re
from array import array
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Literal, NamedTuple

from provisioning.domain import mac as macs
from provisioning.domain.address import Address
from provisioning.domain.mac import Mac

Limit = Literal["address", "network", "mac", "prefix"]
LARGEST_LIMIT = 2**32 - 1
"What a cell counts to."

_FEWEST_MISSES = 100
"Failures in a window below which their share says nothing."
_SHARE_OF_MISSES = 0.5
_WIDTH = 1 << 16
"Cells in each of two rows."
_MASK = _WIDTH - 1
_NOTHING = array("I", bytes(4 * 2 * _WIDTH))
"A window without failures, never written to: phones that all have their proofs cost no memory."
_UNFIT = re.compile(r"[^!-~]")
_LONGEST_PATH = 120


@dataclass(frozen=True, slots=True)
class FailureLimits:
    """Failures that are answered as such within `seconds`; what is beyond is over the limit."""

    address: int = 20
    "An IPv4 address, or an IPv6 /56: what one customer has (RFC 6177)."
    network: int = 300
    "An IPv4 /24, or an IPv6 /48."
    mac: int = 10
    prefix: int = 600
    "All MACs of one vendor prefix (OUI)."
    seconds: float = 600.0

    def __post_init__(self) -> None:
        for most in (self.address, self.network, self.mac, self.prefix):
            if not 0 < most <= LARGEST_LIMIT:
                raise ValueError(f"a limit of failures is 1 to {LARGEST_LIMIT}, not {most}")
        if self.seconds <= 0:
            raise ValueError("a window has more than no seconds")


@dataclass(frozen=True, slots=True)
class Sweep:
    """One vendor prefix has reached its limit: somebody walks its MACs."""

    prefix: str
    failures: int

    def __str__(self) -> str:
        return f"{self.failures} requests without proof for MACs of {self.prefix}: somebody tries them one by one"


@dataclass(frozen=True, slots=True)
class Misses:
    """Most requests for phones' own documents prove nothing."""

    failures: int
    asked: int

    def __str__(self) -> str:
        return f"{self.failures} of {self.asked} requests for phones' documents had no proof"


Alarm = Sweep | Misses


class Verdict(NamedTuple):
    limit: Limit | None
    "None: within all limits. Otherwise the answer is 429, alike for every MAC."
    alarms: tuple[Alarm, ...] = ()

    @property
    def reason(self) -> str | None:
        """The limit as the log spells it."""
        return None if self.limit is None else f"{self.limit}-limit"


_WITHIN = Verdict(None)


class Guard:
    """The counts of one process; workers share none, so a stranger has each worker's limits once."""

    def __init__(self, limits: FailureLimits) -> None:
        self._limits = limits
        self._address = _Counts(limits.address)
        self._network = _Counts(limits.network)
        self._mac = _Counts(limits.mac)
        self._prefix = _Counts(limits.prefix)
        self._counts = (self._address, self._network, self._mac, self._prefix)
        self._ends = -math.inf
        "When the current window ends."
        self._failures = self._failures_before = 0
        self._proved = self._proved_before = 0
        self._told_of_misses = False

    @property
    def retry_after(self) -> int:
        """Seconds for Retry-After; always the same, so that it tells nothing."""
        return max(1, round(self._limits.seconds))

    def proved(self, now: float) -> None:
        """A request for a phone's own document that proved what it is: the other part of the ratio."""
        if now >= self._ends:
            self._turn(now)
        self._proved += 1

    def limit(self, address: Address | None, mac: Mac | None, now: float) -> Limit | None:
        """Which limit this stranger has reached, without counting anything."""
        if now >= self._ends:
            self._turn(now)
        if address is not None:
            host, network = _places(address)
            if self._address.reached(host):
                return "address"
            if self._network.reached(network):
                return "network"
        if mac is not None:
            if self._mac.reached(mac):
                return "mac"
            if self._prefix.reached(macs.prefix(mac)):
                return "prefix"
        return None

    def failed(self, address: Address | None, mac: Mac | None, now: float) -> Verdict:
        """Counts a request that proved nothing. `address` None: nobody knows it; `mac` None: it named none."""
        if now >= self._ends:
            self._turn(now)
        self._failures += 1
        limit: Limit | None = None
        alarms: tuple[Alarm, ...] = ()
        if address is not None:
            host, network = _places(address)
            # Whoever is shut out uses up nobody else's limit: neither his neighbours' nor a phone's.
            if not self._address.add(host):
                limit = "address"
            elif not self._network.add(network):
                limit = "network"
        if mac is not None and limit is None:
            prefix = macs.prefix(mac)
            if not self._mac.add(mac):
                limit = "mac"
            elif not (count := self._prefix.add(prefix)):
                limit = "prefix"
            elif count == self._limits.prefix:
                # Reached once in a window: beyond it nothing is added.
                alarms = (Sweep(prefix, count),)
        if not self._told_of_misses:
            failures = self._failures + self._failures_before
            if failures >= _FEWEST_MISSES:
                asked = failures + self._proved + self._proved_before
                if failures > _SHARE_OF_MISSES * asked:
                    self._told_of_misses = True
                    alarms = (*alarms, Misses(failures, asked))
        return _WITHIN if limit is None and not alarms else Verdict(limit, alarms)

    def _turn(self, now: float) -> None:
        """The current window becomes the one before; after a long quiet both are empty."""
        seconds = self._limits.seconds
        quiet = now >= self._ends + seconds
        for counts in self._counts:
            counts.turn(forget=quiet)
        self._failures_before = 0 if quiet else self._failures
        self._proved_before = 0 if quiet else self._proved
        self._failures = self._proved = 0
        self._told_of_misses = False
        self._ends = seconds + (now if quiet else self._ends)


class _Counts:
    """Of keys, in two windows. Never below what happened (see above), never above the limit."""

    __slots__ = ("_before", "_most", "_now")

    def __init__(self, most: int) -> None:
        self._most = most
        self._now = _NOTHING
        self._before = _NOTHING

    def reached(self, key: bytes | str) -> bool:
        one, two = _cells(key)
        now, before = self._now, self._before
        return min(now[one], now[two]) + min(before[one], before[two]) >= self._most

    def add(self, key: bytes | str) -> int:
        """The count, this time included; 0 if it was at the limit already, and then it is not counted."""
        one, two = _cells(key)
        now, before = self._now, self._before
        first, second = now[one], now[two]
        least = min(first, second)
        count = least + 1 + min(before[one], before[two])
        if count > self._most:
            return 0
        if now is _NOTHING:
            now = self._now = array("I", _NOTHING)
        # A cell above the lower one holds more than this key's count already.
        if first == least:
            now[one] = least + 1
        if second == least:
            now[two] = least + 1
        return count

    def turn(self, *, forget: bool) -> None:
        self._before = _NOTHING if forget else self._now
        self._now = _NOTHING


def _cells(key: bytes | str) -> tuple[int, int]:
    """One in each row. Python keys the hash of text and bytes at random in each process (SipHash), so
    nobody outside can look for keys that share their cells with another's; an int's hash is the int.
    """
    digest = hash(key)
    return digest & _MASK, _WIDTH + (digest >> 32 & _MASK)


def _places(address: Address) -> tuple[bytes, bytes]:
    packed = address.packed
    return (packed, packed[:3]) if isinstance(address, IPv4Address) else (packed[:7], packed[:6])


def refusal_line(address: Address | None, reason: str, mac: Mac | None, path: str) -> str:
    """`refused 198.51.100.7 no-proof 001565aabbcc 001565aabbcc.cfg`, which docs/fail2ban reads.

    Five words on one line whatever the path holds, which must come without secrets already. `reason`
    is one of ours: lower-case letters and hyphens.
    """
    fit = _UNFIT.sub("?", path[:_LONGEST_PATH]) or "-"
    return f"refused {'-' if address is None else address} {reason} {mac or '-'} {fit}"
