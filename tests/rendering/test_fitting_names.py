"""Names are fitted to what a phone can hold; a password never is."""

import pytest

from provisioning.rendering.encoders import SYNTAXES, Unencodable, cut, ini_latin1, latin1


@pytest.mark.parametrize(
    ("text", "most", "expected"),
    [("", 3, ""), ("abc", 3, "abc"), ("abcd", 3, "abc"), ("ab cd", 3, "ab"), ("日本語", 2, "日本")],
)
def test_cut(text, most, expected):
    assert cut(text, most) == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("Zoé", "Zoé"), ("日本 ÿ", "?? ÿ"), ("😀", "?"), ("e\u0301", "e?"), ("", "")]
)
def test_latin1(text, expected):
    assert latin1(text) == expected


@pytest.mark.parametrize("value", ["Zoé", "ÿ", "", "a = b # c", 0, 3600])
def test_a_latin1_document_carries_latin_letters(value):
    assert ini_latin1(value) == str(value)
    charset = SYNTAXES["ini-latin1"].charset
    assert str(value).encode(charset).decode("iso-8859-1") == str(value)


@pytest.mark.parametrize("value", ["日本", "😀", "\u20ac", "a;b", "a\n", " secret", None, True])
def test_it_refuses_what_it_cannot_carry_without_telling_it(value):
    with pytest.raises(Unencodable) as refusal:
        ini_latin1(value)
    assert not isinstance(value, str) or value not in str(refusal.value)
