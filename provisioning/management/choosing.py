"""What is chosen for phones: settings, parameters by name, function keys and phonebooks.

As in changes.py: each is one write transaction, and a Refused undoes all of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple
from typing import Any, NamedTuple

from sqlalchemy import Connection

from provisioning.domain import contact as contact_rules
from provisioning.domain import keys as key_rules
from provisioning.domain import settings
from provisioning.domain.catalogue import Model
from provisioning.domain.contact import MOST_CONTACTS, Contact
from provisioning.domain.errors import Refused
from provisioning.domain.keys import Key
from provisioning.domain.mac import Mac, spelled
from provisioning.domain.settings import Chosen, Scope, Value
from provisioning.management import changes
from provisioning.management.changes import Terms
from provisioning.store import choices, function_keys, phonebooks, phones
from provisioning.store.choices import Subject
from provisioning.store.operations import Operation
from provisioning.store.phonebooks import Owner, StoredContact
from provisioning.store.phones import StoredPhone


class For(NamedTuple):
    """Whose settings: as the caller names it, and as it is stored."""

    scope: Scope
    subject: Subject
    above: tuple[Subject, ...]
    "From the farthest to the nearest."
    model: Model | None = None
    "Of the phone, or of the line's phone; None where several models are concerned, or none."


class Settings(NamedTuple):
    its: For
    chosen: Mapping[str, Chosen]
    parameters: Mapping[str, tuple[str, str]]
    "(value, whose choice), by name."


def whose(connection: Connection, terms: Terms, scope: Scope, name: str = "") -> For:
    """Refused: there is no such model, account, phone or line, for this token."""
    if scope == "operator":
        return For(scope, choices.OPERATOR, ())
    if scope == "model":
        model = terms.catalogue.model(name)
        return For(scope, Subject(scope, model.id), (choices.OPERATOR,), model)
    if scope == "account":
        account = changes.find_account(connection, terms, name)
        return For(scope, Subject(scope, account.id), (choices.OPERATOR,))
    if scope == "phone":
        return _of_phone(terms, changes.find_phone(connection, terms, Mac(name)))
    line = changes.find_line(connection, terms, name)
    subject = Subject("line", line.id)
    if line.mac is None:
        return For("line", subject, (choices.OPERATOR, Subject("account", line.account_id)))
    its = _of_phone(terms, changes.find_phone(connection, terms, line.mac))
    return For("line", subject, (*its.above, its.subject), its.model)


def _of_phone(terms: Terms, phone: StoredPhone) -> For:
    above = (choices.OPERATOR, Subject("model", phone.phone.model), Subject("account", phone.account_id))
    return For("phone", Subject("phone", phone.id), above, terms.catalogue.models.get(phone.phone.model))


def read(connection: Connection, its: For, below: Mapping[str, Value]) -> Settings:
    """`below`: what config.toml chooses."""
    subjects = (*its.above, its.subject)
    layers = [(subject.scope, choices.settings_of(connection, subject)) for subject in subjects]
    parameters: dict[str, tuple[str, str]] = {}
    for subject in subjects:
        if subject.scope in ("model", "phone"):
            found = choices.parameters_of(connection, subject)
            parameters |= {name: (value, subject.scope) for name, value in found.items()}
    return Settings(its, settings.resolve([("config", below), *layers]), parameters)


def change_settings(
    connection: Connection,
    terms: Terms,
    its: For,
    changed: Mapping[str, object],
    parameters: Mapping[str, object],
    *,
    reboot: bool,
    operator: bool,
) -> list[Operation]:
    """What phones are told of it; of an operator's or a model's settings they learn at their next poll."""
    wanted = {name: _setting(terms, its, name, given, operator=operator) for name, given in changed.items()}
    named = {name: _parameter(terms, its, name, given, operator=operator) for name, given in parameters.items()}
    if not wanted and not named:
        return []
    choices.change(connection, its.subject, wanted, are_parameters=False)
    choices.change(connection, its.subject, named, are_parameters=True)
    if its.scope in ("operator", "model"):
        choices.raise_revisions(connection, its.subject)
        return []
    told = []
    for phone_id in choices.phones_concerned(connection, its.subject):
        phone = phones.get(connection, phone_id)
        if phone is not None:
            told.append(_told(connection, terms, phone, "settings", reboot=reboot))
    return told


def _told(connection: Connection, terms: Terms, phone: StoredPhone, kind: str, *, reboot: bool) -> Operation:
    model = terms.catalogue.models.get(phone.phone.model)
    able = model is not None and model.reboot_event is not None
    return changes.operation(connection, terms, kind, phone, reboot=reboot and able)


def _setting(terms: Terms, its: For, name: str, given: object, *, operator: bool) -> Value | None:
    setting = settings.find(name, its.scope)
    if setting.level == "admin" and not operator:
        raise Refused("forbidden", f"{name} is the operator's to choose.", field=name)
    if given is None:
        return None
    value = setting.parse(given)
    if name == "time_zone" and value not in terms.vendors.zones:
        raise Refused("invalid-value", f"{name} is an IANA time zone, such as Europe/Paris.", field=name)
    if its.model is not None and its.scope != "line" and name not in terms.vendors.renderer.settings_of(its.model):
        raise Refused(
            "unsupported-by-model", f"A {its.model.title} has no setting {name}.", field=name
        )
    return value


def _parameter(terms: Terms, its: For, name: str, given: object, *, operator: bool) -> str | None:
    if not operator:
        raise Refused("forbidden", "Parameters by name are the operator's to choose.", field=name[:80])
    if its.model is None or its.scope not in ("model", "phone"):
        raise Refused("invalid-value", "Parameters by name are set for a model or a phone.", field="parameters")
    if given is None:
        return None
    called = its.model.title
    _, value = settings.check_parameter(name, given, its.model.family.parameter, called)
    if terms.vendors.renderer.writes(its.model, name):
        raise Refused(
            "parameter-taken", f"{name} is written already for a {called}: by a setting, a line or a key.", field=name
        )
    return value


# Function keys


def keys_of(connection: Connection, terms: Terms, mac: Mac) -> tuple[StoredPhone, Model, list[Key]]:
    phone = changes.find_phone(connection, terms, mac)
    return phone, terms.catalogue.model(phone.phone.model), function_keys.of_phone(connection, phone.id)


def put_keys(connection: Connection, terms: Terms, mac: Mac, wanted: Sequence[Key], *, reboot: bool) -> Operation:
    """Those keys, and no others, are changed."""
    phone = changes.find_phone(connection, terms, mac)
    model = terms.catalogue.model(phone.phone.model)
    for key in wanted:
        key_rules.check(key, model)
    function_keys.put(connection, phone.id, wanted)
    return _told(connection, terms, phone, "keys", reboot=reboot)


class Copied(NamedTuple):
    mac: Mac
    operation: Operation | None
    refused: Refused | None


def copy_keys(connection: Connection, terms: Terms, mac: Mac, to: Sequence[Mac]) -> list[Copied]:
    """All keys of the phone, to each of the others: it has them all, or, with the reason, none."""
    source = function_keys.of_phone(connection, changes.find_phone(connection, terms, mac).id)
    return [_copy(connection, terms, source, target) for target in to]


def _copy(connection: Connection, terms: Terms, source: Sequence[Key], target: Mac) -> Copied:
    try:
        phone = changes.find_phone(connection, terms, target)
        model = terms.catalogue.model(phone.phone.model)
        for key in source:
            key_rules.check(key, model)
    except Refused as refused:
        return Copied(target, None, refused)
    places = {key.place for key in source}
    # What the other had beside them is emptied: otherwise the phone would keep it.
    beside = [
        Key(key.module, key.number, "none")
        for key in function_keys.of_phone(connection, phone.id)
        if key.place not in places and "none" in model.family.keys
    ]
    function_keys.put(connection, phone.id, [*source, *beside])
    return Copied(target, _told(connection, terms, phone, "keys", reboot=False), None)


# Phonebooks


def owner(connection: Connection, terms: Terms, scope: str, name: str) -> Owner:
    """`scope`: account or phone."""
    if scope == "account":
        return Owner("account", changes.find_account(connection, terms, name).id)
    phone = changes.find_phone(connection, terms, Mac(name))
    model = terms.catalogue.models.get(phone.phone.model)
    if model is not None and model.contacts is None:
        raise Refused(
            "unsupported-by-model", f"A {model.title} downloads no phonebook from its operator."
        )
    return Owner("phone", phone.id)


def add_contacts(
    connection: Connection, of: Owner, new: Sequence[Contact], *, replace: bool = False
) -> list[StoredContact]:
    """Phones take the phonebook again when they next ask for it."""
    checked = [contact_rules.check(one) for one in new]
    if replace:
        phonebooks.remove(connection, of)
    if phonebooks.count(connection, of) + len(checked) > MOST_CONTACTS:
        raise Refused("phonebook-full", f"A phonebook holds {MOST_CONTACTS} contacts.")
    numbers = phonebooks.add(connection, of, checked)
    _changed(connection, of)
    return [StoredContact(number, one) for number, one in zip(numbers, checked, strict=True)]


def change_contact(connection: Connection, of: Owner, number: int, changed: Mapping[str, Any]) -> StoredContact:
    stored = find_contact(connection, of, number)
    contact = contact_rules.check(Contact(**(asdict(stored.contact) | dict(changed))))
    phonebooks.change(connection, of, number, asdict(contact))
    _changed(connection, of)
    return StoredContact(number, contact)


def remove_contact(connection: Connection, of: Owner, number: int) -> None:
    find_contact(connection, of, number)
    phonebooks.remove(connection, of, number)
    _changed(connection, of)


def find_contact(connection: Connection, of: Owner, number: int) -> StoredContact:
    stored = phonebooks.find(connection, of, number)
    if stored is None:
        raise Refused("contact-not-found", f"There is no contact {number} in this phonebook.")
    return stored


def contacts(connection: Connection, of: Owner) -> list[StoredContact]:
    return sorted(phonebooks.of_owner(connection, of), key=lambda one: (astuple(one.contact), one.id))


def _changed(connection: Connection, of: Owner) -> None:
    choices.raise_revisions(connection, Subject(of.scope, of.id))


def missing(mac: Mac) -> Refused:
    return Refused("phone-not-found", f"No phone {spelled(mac)} has asked lately.")
