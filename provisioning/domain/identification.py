"""What a phone says of itself: vendor, model, firmware and MAC. Evidence, never a permission. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from provisioning.domain import mac as macs
from provisioning.domain.catalogue import Catalogue, Model, Vendor
from provisioning.domain.mac import Mac

_LONGEST_AGENT = 256


@dataclass(frozen=True, slots=True)
class Identity:
    vendor: str | None = None
    model: str | None = None
    "Its id where the catalogue has it; otherwise as the phone spells it."
    firmware: str | None = None
    mac: Mac | None = None


class Identifier:
    """Reads User-Agents and paths by one catalogue."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._spellings: Mapping[str, dict[str, Model]] = {
            vendor.folder: _spellings(vendor) for vendor in catalogue.vendors
        }

    def identify(self, *, agent: str = "", path: str = "", certificate: Mac | None = None) -> Identity:
        """Of each thing the strongest evidence: a certificate before a path, a path before a User-Agent."""
        said = self.of_agent(agent)
        name = path.partition("?")[0].rpartition("/")[2]
        common = self._catalogue.common.get(name.lower())
        # A common file's name may hold twelve digits that are nobody's: y000000000096.cfg.
        in_path = macs.find(name) if common is None else None
        mac = certificate or (in_path[0] if in_path else None) or said.mac
        vendor = said.vendor or (common[0].vendor if common else None)
        if vendor is None and mac is not None and (owner := self._catalogue.of_prefix(mac)) is not None:
            vendor = owner.folder
        model = said.model
        if model is None and common is not None and self._is_of_one_model(name.lower()):
            model = common[0].id
        return Identity(vendor, model, said.firmware, mac)

    def of_agent(self, agent: str) -> Identity:
        found = self._matched(agent)
        return self._said(*found) if found else Identity()

    def _matched(self, agent: str) -> tuple[Vendor, re.Match[str]] | None:
        text = agent[:_LONGEST_AGENT]
        for vendor in self._catalogue.vendors:
            for pattern in vendor.agents:
                if (match := pattern.search(text)) is not None:
                    return vendor, match
        return None

    def _said(self, vendor: Vendor, match: re.Match[str]) -> Identity:
        given = match.groupdict()
        # A pattern may do without a model, as phones do while they start.
        known = self._spellings[vendor.folder].get(_plain(given["model"] or ""))
        try:
            mac = macs.parse(given["mac"]) if given.get("mac") else None
        except ValueError:
            # Some mask a digit of it.
            mac = None
        return Identity(vendor.folder, known.id if known else given["model"], given.get("firmware"), mac)

    def _is_of_one_model(self, shape: str) -> bool:
        return sum(shape in model.documents for model in self._catalogue.models.values()) == 1

    def mismatch(self, agent: str, mac: Mac, model: Model) -> dict[str, str]:
        """In what a phone that is recorded as this MAC and model calls itself something else; empty: in nothing."""
        if (matched := self._matched(agent)) is None:
            return {}
        said, found = self._said(*matched), {}
        if said.mac is not None and said.mac != mac:
            found["mac"] = str(said.mac)
        if said.vendor is not None and said.vendor != model.vendor:
            found["vendor"] = said.vendor
        # Models that differ by hardware revision or colour may call themselves alike.
        alike = _plain(matched[1]["model"] or "") in map(_plain, (model.name, *model.aka))
        if said.model is not None and said.model != model.id and not alike:
            found["model"] = said.model
        return found


def _spellings(vendor: Vendor) -> dict[str, Model]:
    found: dict[str, Model] = {}
    for model in vendor.models:
        for name in (model.name, *model.aka):
            found.setdefault(_plain(name), model)
    return found


def _plain(name: str) -> str:
    """`SIP-T46S`, `T46S` and `t46s` are one; so are `SPIP_335` and `SPIP335`."""
    return re.sub(r"[^a-z0-9]", "", name.lower().removeprefix("sip-"))
