"""What is stored → what the API gives. Pure."""

import re
from collections.abc import Sequence
from dataclasses import astuple

from provisioning.domain import life
from provisioning.domain import operation as operations
from provisioning.domain.catalogue import Catalogue, Family, Model
from provisioning.domain.errors import Refused
from provisioning.domain.keys import Key, layout
from provisioning.domain.phone import Asking, Phone, rfc3339, why_not_attachable
from provisioning.domain.settings import ALL, Value
from provisioning.management import bodies, choosing
from provisioning.rendering import compose
from provisioning.store.accounts import Account
from provisioning.store.alarms import Alarm
from provisioning.store.audit import Entry
from provisioning.store.lines import StoredLine
from provisioning.store.operations import Operation
from provisioning.store.phonebooks import StoredContact
from provisioning.store.phones import Door, StoredPhone
from provisioning.store.tokens import Token
from provisioning.store.unknown import Unknown

_FIRMWARE = re.compile(r"\b\d+(?:\.\d+){2,}")


def account(stored: Account) -> bodies.Account:
    return bodies.Account(
        account=stored.account,
        name=stored.name,
        proofs=None if stored.proofs is None else stored.proofs.split(),
        created_at=rfc3339(stored.created_at),
    )


def line(stored: StoredLine) -> bodies.Line:
    return bodies.Line(
        line=stored.line,
        account=stored.account,
        number=stored.number,
        username=stored.username,
        domain=stored.domain,
        display_name=stored.display_name,
        outbound_proxy=stored.outbound_proxy,
        transport=stored.transport,
        phone=stored.mac,
        slot=stored.slot,
        created_at=rfc3339(stored.created_at),
    )


def phone(stored: StoredPhone) -> bodies.Phone:
    its = stored.phone
    found = _FIRMWARE.search(stored.user_agent or "")
    return bodies.Phone(
        mac=its.mac,
        model=its.model,
        account=its.account,
        serial=stored.serial,
        lines=_held(its),
        slots=len(its.slots),
        slots_free=len(its.free),
        public_ip=None if its.public_ip is None else str(its.public_ip),
        last_seen=_time(its.seen_at),
        user_agent=stored.user_agent,
        firmware=found.group() if found else None,
        state=life.state(stored.life),
        door=None if stored.door is None else _door(stored.door),
        created_at=rfc3339(stored.created_at),
    )


def passwords(secret: str | None, family: Family) -> bodies.PhonePasswords:
    """Of the phone's own menus and web page, made of its secret."""
    if secret is None:
        return bodies.PhonePasswords("admin", None, None)
    admin, user = compose.admin_password(secret, family), compose.user_password(secret, family)
    return bodies.PhonePasswords("admin", admin, user)


def attachable(stored: StoredPhone, of: StoredLine, asking: Asking, unfit: Refused | None) -> bodies.AttachablePhone:
    its = stored.phone
    refused = why_not_attachable(its, of.mac, asking) or unfit
    return bodies.AttachablePhone(
        mac=its.mac,
        model=its.model,
        eligible=refused is None,
        reason=None if refused is None else bodies.Reason(refused.code, refused.detail),
        slots=len(its.slots),
        slots_free=len(its.free),
        lines=_held(its),
        public_ip=None if its.public_ip is None else str(its.public_ip),
        last_seen=_time(its.seen_at),
    )


def models(catalogue: Catalogue) -> list[bodies.Model]:
    return [model(catalogue, known) for _, known in sorted(catalogue.models.items())]


def model(catalogue: Catalogue, known: Model) -> bodies.Model:
    return bodies.Model(
        model=known.id,
        vendor=known.vendor,
        vendor_name=known.vendor_name,
        family=known.family.name,
        name=known.name,
        slots=known.slots,
        keys=known.keys,
        key_types=list(known.family.keys),
        expansion_modules=known.expansion_modules,
        module_keys=known.module_keys,
        capabilities=list(known.capabilities),
        transports=list(known.family.transports),
        tls=known.tls,
        confidence=known.confidence,
        source=known.source,
        common=[document.name for shape, document in known.documents.items() if "{mac}" not in shape],
        prefixes=list(catalogue.vendor(known.vendor).prefixes),
    )


def settings(read: choosing.Settings, supported: frozenset[str] | None, *, whole: bool) -> bodies.Settings:
    """`whole`: the operator's too."""
    shown = [
        bodies.Setting(
            name=its.name,
            kind=its.kind,
            group=its.group,
            level=its.level,
            does=its.does,
            of_line=its.of_line,
            value=_plain(read.chosen[its.name].value),
            source=read.chosen[its.name].source,
            default=_plain(its.default),
            supported=None if supported is None else its.name in supported,
            among=list(its.among) or None,
            least=its.least if its.kind == "number" else None,
            most=its.most or None,
        )
        for its in ALL
        if (whole or its.level != "admin") and (its.of_line or read.its.scope != "line")
    ]
    parameters = [bodies.Parameter(name, value, source) for name, (value, source) in sorted(read.parameters.items())]
    return bodies.Settings(shown, parameters if whole else [])


def _plain(value: Value) -> bool | int | str | list[str]:
    return list(value) if isinstance(value, tuple) else value


def keys(phone: StoredPhone, model: Model, stored: Sequence[Key]) -> bodies.Keys:
    held = {str(slot.number): slot.line for slot in phone.phone.slots}
    places = {key.place for key in stored}
    return bodies.Keys(
        keys=[
            bodies.FunctionKey(
                key=str(key),
                module=key.module,
                number=key.number,
                type=key.type,
                value=key.value,
                label=key.label,
                line=held.get(key.value) if key.type == "line" else None,
                set=key.place in places,
            )
            for key in layout(model, stored)
        ],
        count=model.keys,
        expansion_modules=model.expansion_modules,
        module_keys=model.module_keys,
        types=list(model.family.keys),
    )


def copied(one: choosing.Copied) -> bodies.KeysCopiedTo:
    refused = one.refused
    return bodies.KeysCopiedTo(
        phone=one.mac,
        copied=refused is None,
        operation=None if one.operation is None else one.operation.id,
        reason=None if refused is None else bodies.Reason(refused.code, refused.detail),
    )


def contact(stored: StoredContact) -> bodies.Contact:
    return bodies.Contact(stored.id, *astuple(stored.contact))


def unknown(stored: Unknown) -> bodies.UnknownPhone:
    return bodies.UnknownPhone(
        mac=stored.mac,
        vendor=stored.vendor,
        model=stored.model,
        firmware=stored.firmware,
        user_agent=stored.user_agent,
        document=stored.document,
        public_ip=stored.public_ip,
        first_seen=rfc3339(stored.first_seen_at),
        last_seen=rfc3339(stored.seen_at),
    )


def operation(stored: Operation, now: float) -> bodies.Operation:
    facts = stored.facts
    state = operations.state(facts, now)
    error = operations.why_error(facts) if state == "error" else None
    return bodies.Operation(
        id=stored.id,
        kind=stored.kind,
        state=state,
        account=stored.account,
        line=stored.line,
        phone=stored.mac,
        slot=stored.slot,
        requested_at=rfc3339(facts.committed_at),
        deadline_at=rfc3339(facts.deadline_at),
        facts=bodies.OperationFacts(
            committed_at=rfc3339(facts.committed_at),
            notified_at=_time(facts.notified_at),
            sip_status=facts.sip_status,
            fetched_at=_time(facts.fetched_at),
            registered_at=_time(facts.registered_at),
        ),
        error=None if error is None else bodies.Reason(error.code, error.detail),
    )


def token(stored: Token) -> bodies.Token:
    return bodies.Token(
        id=stored.id,
        name=stored.name,
        scope=stored.scope,
        account=stored.account,
        created_at=rfc3339(stored.created_at),
        expires_at=_time(stored.expires_at),
        used_at=_time(stored.used_at),
        used_from=stored.used_from,
    )


def audit_entry(stored: Entry) -> bodies.AuditEntry:
    return bodies.AuditEntry(
        stored.id,
        rfc3339(stored.at),
        stored.who,
        stored.address,
        stored.action,
        stored.subject,
        stored.before,
        stored.after,
        stored.hash.hex(),
    )


def alarm(stored: Alarm) -> bodies.Alarm:
    return bodies.Alarm(stored.id, rfc3339(stored.at), stored.kind, stored.mac, stored.detail)


def _door(its: Door) -> bodies.Door:
    return bodies.Door(its.place, its.opened_by, rfc3339(its.opened_at), rfc3339(its.closes_at))


def _held(its: Phone) -> list[bodies.HeldLine]:
    return [bodies.HeldLine(slot.number, slot.line) for slot in its.slots if slot.line is not None]


def _time(at: float | None) -> str | None:
    return None if at is None else rfc3339(at)
