"""How each syntax carries a value: exactly as it is, or not at all.

The renderer applies an encoder to every `{{ }}` of a template, so none can be forgotten. In XML,
Jinja's own autoescape does the rest.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

from jinja2 import Undefined


class Unencodable(ValueError):  # noqa: N818  the name says what the value is
    """A document of this syntax cannot hold the value. The text never holds it: it may be a password."""


# What ends a line for some reader (everything str.splitlines() knows), every other control, and
# what is no character in XML 1.0 (section 2.2, Char). One set for both syntaxes: phones disagree
# about what a bare U+0085 is, and no name or password needs one.
_REFUSED = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]")

# Where a Yealink reads "factory default" and not a value. Our templates write it themselves.
_RESERVED = ("%NULL%",)


def key_value(value: object) -> str:
    """For `key = value` lines: the value runs to the line's end, and blanks around it are lost."""
    # Printable text holds no separator and no blank but U+0020: nearly every value ends here.
    if type(value) is str and value.isprintable() and value.strip(" ") == value and value[:1] != "%":
        return value
    if type(value) is int:
        return str(value)
    text = _text(value)
    if text != text.strip():
        raise Unencodable("a value begins or ends with a blank, which this document loses")
    if text in _RESERVED:
        raise Unencodable("a value is a word that the phone reads as its factory default")
    return text


def xml(value: object) -> str:
    """For text and attribute values: `& < > \" '` are escaped by autoescape, after this."""
    if type(value) is str and value.isprintable():
        return value
    return _text(value)


def xml_trimmed(value: object) -> str:
    """For XML whose phones remove blanks around a value: Cisco's."""
    text = xml(value)
    if text != text.strip():
        raise Unencodable("a value begins or ends with a blank, which this document loses")
    return text


def _text(value: object) -> str:
    if type(value) is int:
        return str(value)
    if isinstance(value, Undefined):
        # Raises Jinja's own error, with the name that is undefined.
        return str(value)
    # Not isinstance: Markup, which autoescape trusts, and bool, which phones spell differently, are out.
    if type(value) is not str:
        raise Unencodable(f"a {type(value).__name__} is neither text nor a number")
    if found := _REFUSED.search(value):
        raise Unencodable(f"a value holds {_kind(found.group())}, which this document cannot carry")
    return value


def _kind(character: str) -> str:
    name = {
        "\n": "a line feed",
        "\r": "a carriage return",
        "\t": "a tab",
        "\u2028": "a line separator",
        "\u2029": "a paragraph separator",
    }.get(character)
    if name is None:
        name = "half a character" if unicodedata.category(character) == "Cs" else "a control character"
    return f"{name} (U+{ord(character):04X})"


def colon(value: object) -> str:
    """For `name: value` lines, which may be quoted: Mitel's. A quote would end the value."""
    text = key_value(value)
    if '"' in text:
        raise Unencodable("a value holds a quote, which this document cannot carry")
    return text


def quoted(value: object) -> str:
    """For `NAME="value"` lines: nothing escapes a quote."""
    text = _text(value)
    if '"' in text:
        raise Unencodable("a value holds a quote, which this document cannot carry")
    return text


def ini(value: object) -> str:
    """For `key=value` lines below `[section]`: as key-value, and a `;` may begin a comment."""
    text = key_value(value)
    if ";" in text:
        raise Unencodable("a value holds a semicolon, which this document takes for a comment")
    return text


def ini_latin1(value: object) -> str:
    """The same for phones that read ISO-8859-1."""
    text = ini(value)
    if latin1(text) != text:
        raise Unencodable("a value holds a letter of another alphabet, which this document cannot carry")
    return text


class Syntax(NamedTuple):
    encode: Callable[[object], str]
    autoescape: bool = False
    charset: str = "utf-8"
    errors: str = "strict"
    "xmlcharrefreplace: what the charset lacks is written as a numeric character reference."
    newline: Literal["\n", "\r\n"] = "\n"


SYNTAXES: Mapping[str, Syntax] = {
    "key-value": Syntax(key_value),
    "colon": Syntax(colon),
    # Panasonic's lines end so (KX-UT123 administrator guide, section 2.4); in a CSV nobody minds.
    "quoted": Syntax(quoted, newline="\r\n"),
    "ini": Syntax(ini),
    "ini-latin1": Syntax(ini_latin1, charset="iso-8859-1"),
    "xml": Syntax(xml, autoescape=True),
    "xml-ascii": Syntax(xml_trimmed, autoescape=True, charset="ascii", errors="xmlcharrefreplace"),
    "xml-latin1": Syntax(xml, autoescape=True, charset="iso-8859-1", errors="xmlcharrefreplace"),
}
"By a document's `syntax`."


def sip_quoted(text: str) -> str:
    """As a quoted-string, RFC 3261 section 25.1: a display name in front of a SIP address."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def host(host_port: str) -> str:
    """`sip.example.net` of `sip.example.net:5070`; brackets stay around an IPv6 address."""
    return _split(host_port)[0]


def port(host_port: str, default: int) -> int:
    """`5070` of `sip.example.net:5070`, else the default."""
    digits = _split(host_port)[1]
    return int(digits) if digits else default


def given_port(host_port: str) -> str:
    """`5070` of `sip.example.net:5070`, or nothing: for phones that then ask DNS for SRV records."""
    return _split(host_port)[1]


def local(number: str, prefix: str = "00") -> str:
    """`0033972101234` of `+33972101234`: for phones that dial no plus."""
    return prefix + number.removeprefix("+") if number.startswith("+") else number


def join(items: Sequence[str], separator: str = ",") -> str:
    return separator.join(items)


def cut(text: str, most: int) -> str:
    """At most so many characters, for a name that a phone would otherwise refuse."""
    return text if len(text) <= most else text[:most].rstrip()


def latin1(text: str) -> str:
    """For a name, where phones read ISO-8859-1: its other letters become question marks."""
    return text.encode("iso-8859-1", "replace").decode("iso-8859-1")


def quoted_text(text: str) -> str:
    """In quotes, for a value that is a quoted text inside a value: Gigaset's. Nothing escapes a quote there."""
    if '"' in text:
        raise Unencodable("a value holds a quote, which this document cannot carry")
    return f'"{text}"'


def _split(host_port: str) -> tuple[str, str]:
    head, colon, tail = host_port.rpartition(":")
    # The colons of a bracketed IPv6 address are its own.
    if not colon or tail.endswith("]"):
        return host_port, ""
    return head, tail


FILTERS: Mapping[str, Callable[..., str | int]] = {
    "cut": cut,
    "host": host,
    "given_port": given_port,
    "join": join,
    "latin1": latin1,
    "local": local,
    "number": int,
    "port": port,
    "quoted_text": quoted_text,
    "sip_quoted": sip_quoted,
}
"Every filter that a template may use."
