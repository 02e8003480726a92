"""Function keys: what each may do, and which of a phone's keys does what. Pure.

A key's type is one word for all vendors; what a vendor's phones call it stands in its vendor.toml.
"""

import functools
import re
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from provisioning.domain.catalogue import KEY_TYPES, Model
from provisioning.domain.errors import Refused
from provisioning.domain.line import check_text

Needs = Literal["nothing", "slot", "number", "url", "maybe-number"]

_NOTHING: Needs = "nothing"
NEEDS: Mapping[str, Needs] = {
    **dict.fromkeys(KEY_TYPES, _NOTHING),
    "line": "slot",
    "speed-dial": "number",
    "blf": "number",
    "intercom": "number",
    "park": "maybe-number",
    "pickup": "maybe-number",
    "transfer": "maybe-number",
    "forward": "maybe-number",
    "voicemail": "maybe-number",
    "url": "url",
}
"What a key's value is, by its type."
LONGEST_LABEL = 64
_SLOT = re.compile("[1-9][0-9]{0,3}", re.ASCII)
_NUMBER = re.compile(r"\+?[0-9*#.,-]{1,32}", re.ASCII)
_URL = re.compile(r"https?://[!-~]{1,240}", re.ASCII)


class Key(NamedTuple):
    module: int
    "0: the phone itself; otherwise its expansion module, from 1."
    number: int
    "On the phone, or on the module, from 1."
    type: str
    value: str = ""
    "A slot, a number or a URL, as the type needs it."
    label: str = ""

    @property
    def place(self) -> tuple[int, int]:
        return self.module, self.number

    def __str__(self) -> str:
        """`5`, or `1.5` on the first module."""
        return f"{self.module}.{self.number}" if self.module else str(self.number)


def place(text: str) -> tuple[int, int]:
    """Of `5`, or of `1.5` for the fifth key of the first expansion module."""
    module, dot, number = text.rpartition(".")
    if not all(part.isascii() and part.isdigit() and len(part) < 5 for part in ([module, number] if dot else [number])):
        raise Refused("key-unknown", "A key is written as 5, or 1.5 on the first expansion module.", key=text[:20])
    return int(module or 0), int(number)


def check(key: Key, model: Model) -> Key:
    """Refused: `key-unknown` where the model has no such key, `unsupported-by-model` where it cannot do that."""
    its = f"A {model.title}"
    if key.module < 0 or key.number < 1:
        raise Refused("key-unknown", "Keys, and expansion modules, count from 1.", key=str(key))
    if not model.keys or not model.family.keys:
        raise Refused("unsupported-by-model", f"{its} has no keys to program; key {key} was asked for.", key=str(key))
    if key.module > model.expansion_modules:
        raise Refused(
            "key-unknown", f"{its} takes {model.expansion_modules} expansion modules, not {key.module}.", key=str(key)
        )
    most = model.module_keys if key.module else model.keys
    if key.number > most:
        where = "each of its modules has" if key.module else "it has"
        raise Refused("key-unknown", f"{its} has no key {key}: {where} {most}.", key=str(key))
    if key.type not in KEY_TYPES:
        raise Refused(
            "invalid-value", f"{key.type!r} is no type of key; there are {', '.join(KEY_TYPES)}.", field="type"
        )
    if key.type not in model.family.keys:
        raise Refused(
            "unsupported-by-model", f"{its} cannot have a {key.type} key; key {key} was asked for.", key=str(key)
        )
    check_text("label", key.label, LONGEST_LABEL)
    _check_value(key, model)
    return key


def _check_value(key: Key, model: Model) -> None:
    needs = NEEDS[key.type]
    if needs == "slot":
        good = _SLOT.fullmatch(key.value) is not None and int(key.value) <= model.slots
        sentence = f"of a line key is a slot, 1 to {model.slots}"
    elif needs == "number" or (needs == "maybe-number" and key.value):
        good = _NUMBER.fullmatch(key.value) is not None
        sentence = f"of a {key.type} key is a number to dial, such as +33972101234"
    elif needs == "url":
        good = _URL.fullmatch(key.value) is not None
        sentence = "of a url key is an http:// or https:// address"
    else:
        good = not key.value
        sentence = f"of a {key.type} key is empty"
    if not good:
        raise Refused("invalid-value", f"value {sentence}.", field="value", key=str(key))


def layout(model: Model, stored: Sequence[Key]) -> Sequence[Key]:
    """What is written into the phone's configuration: the keys that are set, and on the first ones, where
    nothing is, the slots' own, so that key 1 is the main line. Other keys are left to the phone's user."""
    own = _line_keys(min(model.line_keys, model.slots) if "line" in model.family.keys else 0)
    if not stored:
        return list(own)
    by_place = {key.place: key for key in own}
    # A model may have changed since a key was set: what it cannot do now is left out, and not lost.
    for key in stored:
        if fits(key, model):
            by_place[key.place] = key
    return [by_place[place] for place in sorted(by_place)]


@functools.cache
def _line_keys(count: int) -> Sequence[Key]:
    return tuple(Key(0, number, "line", str(number)) for number in range(1, count + 1))


def fits(key: Key, model: Model) -> bool:
    try:
        check(key, model)
    except Refused:
        return False
    return True
