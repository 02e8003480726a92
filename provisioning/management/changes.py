"""Every change, each one write transaction: facts read under the lock → the pure rule → slot,
operation and door. A Refused undoes all of it.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from provisioning.config import Config, Proofs
from provisioning.domain import line as line_rules
from provisioning.domain import phone as rules
from provisioning.domain.address import Address, place
from provisioning.domain.catalogue import Catalogue
from provisioning.domain.errors import Refused
from provisioning.domain.line import Line
from provisioning.domain.mac import Mac, spelled
from provisioning.domain.phone import Asking
from provisioning.domain.settings import Value
from provisioning.store import accounts, choices, function_keys, lines, operations, phonebooks, phones, unknown, uploads
from provisioning.store.accounts import Account
from provisioning.store.lines import StoredLine
from provisioning.store.operations import Operation
from provisioning.store.phones import OpenedBy, StoredPhone
from provisioning.store.secrets import KeyRing
from provisioning.vendors import Vendors


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for every change of one moment."""

    vendors: Vendors
    keys: KeyRing
    now: float
    only: int | None
    "The account that the caller's token is restricted to."
    deadline: float
    door: float
    bootstrap: float
    code: float
    private_addresses: bool
    "Phones may be in the operator's own network, or on this very machine."
    proofs: Proofs
    can_tell: bool
    "A route to the phones is configured."
    new_passwords: bool
    "The operator's registrar takes new SIP passwords."
    below: Mapping[str, Value]
    "Settings that config.toml chooses."

    @property
    def catalogue(self) -> Catalogue:
        return self.vendors.catalogue


def terms_now(config: Config, vendors: Vendors, keys: KeyRing, only: int | None = None) -> Terms:
    return Terms(
        vendors=vendors,
        keys=keys,
        now=time.time(),
        only=only,
        deadline=config.resync.deadline,
        door=config.phones.door,
        bootstrap=config.proofs.bootstrap_days * 86400,
        code=config.proofs.code,
        private_addresses=config.network.private_addresses,
        proofs=config.proofs,
        can_tell=bool(config.resync.proxy),
        new_passwords=bool(config.registrar.password_hook),
        below=config.phones.chosen,
    )


def attach(connection: Connection, terms: Terms, line: str, asking: Asking, slot: int | None) -> Operation:
    stored = find_line(connection, terms, line)
    if stored.mac is not None:
        raise rules.already_attached(stored.mac)
    phone = _chosen(connection, stored, asking)
    number = rules.free_slot(phone.phone, slot)
    _suits(connection, terms, phone, _whole(connection, terms, line))
    try:
        if not phones.fill(connection, phone.id, number, stored.id):
            raise Refused("slot-taken", f"Slot {number} was taken a moment ago.")
    except IntegrityError:
        # The write lock makes this impossible on SQLite; the constraint has the last word elsewhere.
        raise Refused("line-already-attached", "The line was attached elsewhere a moment ago.") from None
    # A phone that has its secret needs no door; at a shared address it takes a code instead.
    if (
        asking.public_ip is not None
        and phone.life.bound_at is None
        and why_no_door(connection, terms, phone, asking.public_ip) is None
    ):
        open_door(connection, terms, phone, asking.public_ip, "attach")
    return operation(connection, terms, "attach", phone, line=line, slot=number)


def detach(connection: Connection, terms: Terms, line: str, asking: Asking, *, force: bool) -> Operation:
    stored = find_line(connection, terms, line)
    if asking.mac is not None and asking.mac != stored.mac:
        if phones.find(connection, asking.mac, only=stored.account_id) is None:
            raise Refused("phone-not-found", f"The account has no phone {spelled(asking.mac)}.")
        raise Refused("line-not-attached", f"The line {line} is not on the phone {spelled(asking.mac)}.")
    if stored.mac is None:
        raise Refused("line-not-attached", f"The line {line} is on no phone.")
    phone = find_phone(connection, terms, stored.mac)
    if not (force and asking.public_ip is None):
        rules.confirm(phone.phone, asking)
    number = rules.slot_to_empty(phone.phone, line, force=force)
    phones.empty(connection, phone.id, number)
    if terms.new_passwords:
        # The phone, or whoever copied its configuration, still knows the old one.
        lines.plan_new_password(connection, terms.keys, stored, terms.now)
    return operation(connection, terms, "detach", phone, line=line, slot=number)


def promote(connection: Connection, terms: Terms, mac: Mac, line: str) -> Operation:
    phone = find_phone(connection, terms, mac)
    find_line(connection, terms, line)
    before = phone.phone.slot_of(line)
    rules.promoted(phone.phone, line)
    others = [held for held in _held(phone) if held != line]
    _go_together(connection, terms, phone.phone.model, [line, *others])
    phones.swap(connection, phone.id, rules.MAIN, before or rules.MAIN)
    return operation(connection, terms, "promote", phone, line=line, slot=rules.MAIN)


def resync(connection: Connection, terms: Terms, mac: Mac, *, reboot: bool) -> Operation:
    phone = find_phone(connection, terms, mac)
    kind = "reboot" if reboot else "resync"
    model = terms.catalogue.model(phone.phone.model)
    if kind not in model.capabilities:
        raise Refused("unsupported-by-model", f"A {model.title} cannot be told to {kind}.")
    return operation(connection, terms, kind, phone, reboot=reboot)


def new_account(connection: Connection, terms: Terms, account: str, name: str) -> Account:
    try:
        return accounts.add(connection, account, name, terms.now)
    except IntegrityError:
        raise Refused("account-exists", f"There is an account {account} already.") from None


def change_account(connection: Connection, terms: Terms, account: str, changed: dict[str, Any]) -> Account:
    stored = find_account(connection, terms, account)
    if changed:
        accounts.change(connection, stored.id, changed)
    return replace(stored, **changed)


def remove_account(connection: Connection, terms: Terms, account: str) -> None:
    stored = find_account(connection, terms, account)
    if accounts.is_used(connection, stored.id):
        raise Refused("account-not-empty", f"The account {account} still owns lines or phones.")
    accounts.remove(connection, stored.id)


def new_line(connection: Connection, terms: Terms, line: Line) -> StoredLine:
    line_rules.check(line)
    account = find_account(connection, terms, line.account)
    try:
        lines.add(connection, terms.keys, account.id, line, terms.now)
    except IntegrityError:
        raise Refused(
            "line-exists", f"There is a line {line.name}, or {line.username}@{line.domain}, already."
        ) from None
    return find_line(connection, terms, line.name)


def change_line(connection: Connection, terms: Terms, line: str, changed: dict[str, Any]) -> StoredLine:
    """A phone that holds the line is told."""
    stored = find_line(connection, terms, line)
    before = Line(
        stored.line,
        stored.account,
        stored.number,
        stored.username,
        # Checked where it is given; what is stored was checked when it came.
        "unchanged",
        stored.domain,
        stored.display_name,
        stored.outbound_proxy,
        stored.transport,
    )
    line_rules.check(replace(before, **changed))
    if not changed:
        return stored
    try:
        lines.change(connection, terms.keys, stored, changed)
    except IntegrityError:
        raise Refused("line-exists", "Another line has this username at this domain.") from None
    if stored.mac is not None:
        phone = find_phone(connection, terms, stored.mac)
        _fits(terms, phone.phone.model, _whole(connection, terms, line))
        _go_together(connection, terms, phone.phone.model, _held(phone))
        operation(connection, terms, "update", phone, line=line, slot=stored.slot)
    return find_line(connection, terms, line)


def _suits(connection: Connection, terms: Terms, phone: StoredPhone, line: Line) -> None:
    """What an attach is refused for beside the rule of slots and addresses."""
    if phone.life.returned_at is not None:
        raise Refused("phone-returned", f"The phone {spelled(phone.phone.mac)} was returned; ship it again first.")
    model = phone.phone.model
    _fits(terms, model, line)
    _go_together(connection, terms, model, [*_held(phone)[:1], line.name])


def _fits(terms: Terms, model: str, line: Line) -> None:
    """A line that the phone's dialect cannot carry would cost the phone its whole configuration."""
    known = terms.catalogue.models.get(model)
    why = None if known is None else terms.vendors.renderer.cannot_carry(known, line)
    if known is not None and why is not None:
        raise Refused("line-unfit", f"A {known.title} cannot hold the line {line.name}: {why}.", line=line.name)


def _go_together(connection: Connection, terms: Terms, model: str, names: Sequence[str]) -> None:
    """Where all lines go by the first one's transport, one that wants TLS must not be sent in the clear."""
    known = terms.catalogue.models.get(model)
    if known is None or not known.family.one_transport:
        return
    found = [find_line(connection, terms, name) for name in names]
    wanting = next((line.line for line in found if line.transport == "tls"), None)
    if wanting is not None and found[0].transport != "tls":
        its = f"All lines of a {known.title} go by the transport of its first one, which is {found[0].transport}"
        raise Refused("line-unfit", f"{its}; the line {wanting} wants tls.", line=wanting)


def _held(phone: StoredPhone) -> list[str]:
    return [slot.line for slot in phone.phone.lines if slot.line is not None]


def _whole(connection: Connection, terms: Terms, line: str) -> Line:
    """Of a line that is known to be there."""
    whole = lines.whole(connection, terms.keys, line)
    if whole is None:
        raise _no_line(line)
    return whole


def suited(connection: Connection, terms: Terms, line: StoredLine) -> list[tuple[StoredPhone, Refused | None]]:
    """The account's phones, each with what an attach of the line would be refused for beside the rule."""
    whole = _whole(connection, terms, line.line)

    def why_not(phone: StoredPhone) -> Refused | None:
        try:
            _suits(connection, terms, phone, whole)
        except Refused as refused:
            return refused
        return None

    return [(phone, why_not(phone)) for phone in phones.of_account(connection, line.account_id)]


def remove_line(connection: Connection, terms: Terms, line: str) -> None:
    stored = find_line(connection, terms, line)
    if stored.mac is not None:
        raise rules.already_attached(stored.mac)
    lines.remove(connection, stored.id)


def new_phone(
    connection: Connection,
    terms: Terms,
    *,
    mac: Mac,
    model: str,
    account: str,
    serial: str | None,
    main_line: str | None,
) -> tuple[StoredPhone, str]:
    """(phone, its secret)."""
    known = terms.catalogue.model(model)
    owner = find_account(connection, terms, account)
    try:
        phone_id = phones.add(
            connection,
            mac=mac,
            model=known.id,
            account_id=owner.id,
            serial=serial,
            slot_count=known.slots,
            now=terms.now,
        )
    except IntegrityError:
        raise Refused("phone-exists", f"There is a phone {spelled(mac)} already.") from None
    secret = phones.new_phone_secret(connection, terms.keys, phone_id, mac, terms.now)
    unknown.forget(connection, mac)
    phones.tell(connection, phone_id, terms.now, "created", model=known.id, account=account)
    if main_line is not None:
        line = find_line(connection, terms, main_line)
        if line.account_id != owner.id:
            raise Refused("other-account", f"The line {main_line} belongs to another account than the phone.")
        if line.mac is not None:
            raise rules.already_attached(line.mac)
        _fits(terms, known.id, _whole(connection, terms, main_line))
        phones.fill(connection, phone_id, rules.MAIN, line.id)
        phones.tell(connection, phone_id, terms.now, "attach", line=main_line, slot=rules.MAIN)
    return find_phone(connection, terms, mac), secret


def change_phone(
    connection: Connection, terms: Terms, mac: Mac, changed: dict[str, Any]
) -> tuple[StoredPhone, str | None]:
    """(phone, its new secret where it went to another account: the earlier owner knows the old one)."""
    phone = find_phone(connection, terms, mac)
    secret = None
    columns: dict[str, Any] = {}
    if "serial" in changed:
        columns["serial"] = changed["serial"]
    if "account" in changed:
        owner = find_account(connection, terms, changed["account"])
        if phone.phone.lines and owner.id != phone.account_id:
            raise Refused("phone-has-lines", "The phone holds lines of its account; detach them first.")
        if owner.id != phone.account_id:
            phones.forget_story(connection, phone.id)
            forget_choices(connection, phone.id)
            operations.leave_behind(connection, phone.id)
            phones.forget_secrets(connection, phone.id)
            secret = phones.new_phone_secret(connection, terms.keys, phone.id, mac, terms.now)
            columns |= {"shipped_at": None, "returned_at": None, "secret_lost_at": None, "reopened_at": None}
        columns["account_id"] = owner.id
    if "model" in changed:
        known = terms.catalogue.model(changed["model"])
        used = [slot.number for slot in phone.phone.lines if slot.number > known.slots]
        if used:
            raise Refused(
                "slots-in-use",
                f"A {known.title} has {known.slots} slots; lines are in slots {used}.",
            )
        for held in _held(phone):
            _fits(terms, known.id, _whole(connection, terms, held))
        _go_together(connection, terms, known.id, _held(phone))
        columns["model"] = known.id
        phones.set_slot_count(connection, phone.id, len(phone.phone.slots), known.slots)
    if columns:
        phones.change(connection, phone.id, columns)
        phones.raise_revision(connection, phone.id)
        phones.tell(connection, phone.id, terms.now, "changed", **changed)
    return find_phone(connection, terms, mac), secret


def remove_phone(connection: Connection, terms: Terms, mac: Mac) -> None:
    phone = find_phone(connection, terms, mac)
    if phone.phone.lines:
        raise Refused("phone-has-lines", f"The phone {spelled(mac)} still holds lines; detach them first.")
    operations.give_up(connection, phone.id)
    phones.remove(connection, phone.id)


def forget_choices(connection: Connection, phone_id: int) -> None:
    """What the phone's owner chose for it and put into it, before another has it."""
    uploads.forget(connection, phone_id)
    phonebooks.remove(connection, phonebooks.Owner("phone", phone_id))
    function_keys.forget(connection, phone_id)
    choices.forget(connection, choices.Subject("phone", phone_id))


def find_account(connection: Connection, terms: Terms, account: str) -> Account:
    stored = accounts.find(connection, account)
    if stored is None or (terms.only is not None and stored.id != terms.only):
        raise Refused("account-not-found", f"There is no account {account}.")
    return stored


def find_line(connection: Connection, terms: Terms, line: str) -> StoredLine:
    stored = lines.find(connection, line, only=terms.only)
    if stored is None:
        raise _no_line(line)
    return stored


def _no_line(line: str) -> Refused:
    return Refused("line-not-found", f"There is no line {line}.")


def find_phone(connection: Connection, terms: Terms, mac: Mac) -> StoredPhone:
    stored = phones.find(connection, mac, only=terms.only)
    if stored is None:
        raise Refused("phone-not-found", f"There is no phone {spelled(mac)}.")
    return stored


def _chosen(connection: Connection, line: StoredLine, asking: Asking) -> StoredPhone:
    """Among the phones of the line's account only."""
    if asking.mac is not None:
        named = phones.find(connection, asking.mac, only=line.account_id)
        own = [] if named is None else [named]
    else:
        own = phones.of_account(connection, line.account_id)
    chosen = rules.choose([phone.phone for phone in own], asking)
    return next(phone for phone in own if phone.phone is chosen)


def operation(
    connection: Connection,
    terms: Terms,
    kind: str,
    phone: StoredPhone,
    *,
    line: str | None = None,
    slot: int | None = None,
    reboot: bool = False,
) -> Operation:
    """The outbox row and the story, with the change they tell of."""
    model = terms.catalogue.models.get(phone.phone.model)
    untold = None
    if model is not None and model.event is None:
        untold = f"A {model.title} cannot be told to fetch its configuration."
    elif not terms.can_tell:
        untold = "No SIP proxy is configured ([resync] proxy), so phones cannot be told."
    phones.tell(connection, phone.id, terms.now, kind, line=line, slot=slot)
    return operations.add(
        connection,
        kind=kind,
        phone=phone,
        revision=phones.raise_revision(connection, phone.id),
        now=terms.now,
        deadline=terms.deadline,
        line=line,
        slot=slot,
        reboot=reboot,
        untold=untold,
    )


def why_no_door(connection: Connection, terms: Terms, phone: StoredPhone, public_ip: Address) -> str | None:
    """None: one may be opened for it there."""
    if "door" not in terms.proofs.accepted(phone.phone.model, phone.account_proofs):
        return "Doors are switched off for this phone's model or account."
    # Everything of a trial happens on one machine, whose address tells nobody's network.
    on_trial = terms.private_addresses and public_ip.is_loopback
    if not on_trial and phones.is_shared(connection, place(public_ip), phone.account_id, terms.now):
        return f"Phones of several accounts share the address {public_ip}; make an activation code instead."
    return None


def open_door(connection: Connection, terms: Terms, phone: StoredPhone, public_ip: Address, by: OpenedBy) -> None:
    phones.open_door(connection, phone.id, phone.phone.mac, place(public_ip), terms.now, terms.door, by)


def phone_model(connection: Connection, terms: Terms, mac: Mac) -> str:
    return find_phone(connection, terms, mac).phone.model
