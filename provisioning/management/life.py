"""The changes between a phone's order and its return: shipped, reset, given doors, codes and secrets.

As in changes.py: each is one write transaction, and a Refused undoes all of it.
"""

from sqlalchemy import Connection

from provisioning.domain.address import Address
from provisioning.domain.errors import Refused
from provisioning.domain.mac import Mac, spelled
from provisioning.domain.phone import rfc3339
from provisioning.management import changes
from provisioning.management.changes import Terms
from provisioning.store import binding, lines, phones
from provisioning.store.operations import Operation
from provisioning.store.phones import StoredPhone


def ship(connection: Connection, terms: Terms, mac: Mac) -> tuple[StoredPhone, str]:
    """Arms the phone: (phone, its one-time token)."""
    phone = changes.find_phone(connection, terms, mac)
    if phone.life.returned_at is not None:
        phones.forget_secrets(connection, phone.id)
    elif phone.life.bound_at is not None:
        raise Refused(
            "phone-bound",
            f"The phone {spelled(mac)} has its own secret already and needs no token. "
            "If it lost that, reset it; if it came back, return it first.",
        )
    token = binding.new_bootstrap(connection, terms.keys, phone, terms.now, terms.bootstrap)
    phones.change(connection, phone.id, {"shipped_at": terms.now, "returned_at": None, "secret_lost_at": None})
    phones.raise_revision(connection, phone.id)
    phones.tell(connection, phone.id, terms.now, "shipped", usable_until=rfc3339(terms.now + terms.bootstrap))
    return changes.find_phone(connection, terms, mac), token


def give_back(connection: Connection, terms: Terms, mac: Mac) -> Operation:
    """Return: all lines leave it, their passwords change, and what it can still prove gets it a blank
    configuration only.
    """
    phone = changes.find_phone(connection, terms, mac)
    if phone.life.returned_at is not None:
        raise Refused("phone-returned", f"The phone {spelled(mac)} was returned already.")
    for slot in phone.phone.lines:
        line = lines.find(connection, slot.line or "")
        if line is not None and terms.new_passwords:
            lines.plan_new_password(connection, terms.keys, line, terms.now)
        phones.empty(connection, phone.id, slot.number)
    phones.forget_unproved(connection, phone.id)
    changes.forget_choices(connection, phone.id)
    phones.change(connection, phone.id, {"returned_at": terms.now})
    return changes.operation(connection, terms, "return", phone)


def new_secret(connection: Connection, terms: Terms, mac: Mac) -> tuple[Operation, str]:
    """(operation, secret): the phone's present secret stays valid until the phone shows the new one."""
    phone = _in_use(connection, terms, mac)
    secret = phones.new_phone_secret(connection, terms.keys, phone.id, mac, terms.now, keep_shown=True)
    return changes.operation(connection, terms, "secret", phone), secret


def reset(connection: Connection, terms: Terms, mac: Mac, public_ip: Address) -> tuple[Operation, str]:
    """(operation, the phone's new secret): for a phone that lost what it knew."""
    phone = _in_use(connection, terms, mac)
    _door_is_possible(connection, terms, phone, public_ip)
    secret = phones.new_phone_secret(connection, terms.keys, phone.id, mac, terms.now)
    if phone.life.bound_at is not None and terms.new_passwords:
        binding.replace_passwords(connection, terms.keys, phone, terms.now)
    phones.change(connection, phone.id, {"secret_lost_at": None})
    changes.open_door(connection, terms, phone, public_ip, "reset")
    return changes.operation(connection, terms, "reset", phone), secret


def open_door(connection: Connection, terms: Terms, mac: Mac, public_ip: Address) -> StoredPhone:
    phone = _in_use(connection, terms, mac)
    _door_is_possible(connection, terms, phone, public_ip)
    changes.open_door(connection, terms, phone, public_ip, "admin")
    return changes.find_phone(connection, terms, mac)


def close_door(connection: Connection, terms: Terms, mac: Mac) -> None:
    phone = changes.find_phone(connection, terms, mac)
    if not phones.close_door(connection, phone.id):
        raise Refused("no-open-door", f"No door is open for the phone {spelled(mac)}.")
    phones.tell(connection, phone.id, terms.now, "door-closed")


def new_code(connection: Connection, terms: Terms, mac: Mac) -> str:
    phone = _in_use(connection, terms, mac)
    if "code" not in terms.proofs.accepted(phone.phone.model, phone.account_proofs):
        raise Refused("proof-switched-off", "Activation codes are switched off for this phone's model or account.")
    return binding.new_code(connection, terms.keys, phone, terms.now, terms.code)


def _in_use(connection: Connection, terms: Terms, mac: Mac) -> StoredPhone:
    phone = changes.find_phone(connection, terms, mac)
    if phone.life.returned_at is not None:
        raise Refused("phone-returned", f"The phone {spelled(mac)} was returned; ship it again first.")
    return phone


def _door_is_possible(connection: Connection, terms: Terms, phone: StoredPhone, public_ip: Address) -> None:
    why = changes.why_no_door(connection, terms, phone, public_ip)
    if why is not None:
        raise Refused("door-refused", why)
