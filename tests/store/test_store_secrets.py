import base64
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning.domain.errors import Fault
from provisioning.store import secrets
from provisioning.store.secrets import KeyRing, add_key, keep_only, new_key_file

KEY = base64.b64encode(b"K" * 32).decode()
OTHER = base64.b64encode(b"O" * 32).decode()


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "secret-key"
    new_key_file(path)
    return path


def written(path: Path, text: str) -> Path:
    secrets.write_private(path, text)
    return path


def test_what_is_sealed_opens_again(key_file: Path):
    keys = KeyRing(key_file)
    key_id, sealed = keys.seal("s3cret", "line:l1")
    assert keys.open(key_id, sealed, "line:l1") == "s3cret"


@given(st.text(), st.text(max_size=20))
def test_every_text_survives_sealing(tmp_path_factory, plain: str, context: str):
    path = tmp_path_factory.getbasetemp() / "a-key"
    keys = KeyRing(path if path.exists() else written(path, f"k1 {KEY}\n"))
    assert keys.open(*keys.seal(plain, context), context) == plain


def test_the_same_secret_is_sealed_differently_every_time(key_file: Path):
    keys = KeyRing(key_file)
    assert keys.seal("s3cret", "line:l1") != keys.seal("s3cret", "line:l1")


def test_a_sealed_secret_is_not_in_its_seal(key_file: Path):
    assert b"s3cret" not in KeyRing(key_file).seal("s3cret", "line:l1")[1]


def test_a_secret_moved_to_another_row_does_not_open(key_file: Path):
    keys = KeyRing(key_file)
    key_id, sealed = keys.seal("s3cret", "line:l1")
    with pytest.raises(Fault, match="line:l2 does not open"):
        keys.open(key_id, sealed, "line:l2")


@pytest.mark.parametrize("change", [lambda s: s[:-1], lambda s: s[:5], lambda s: b"", lambda s: s[:-1] + b"\0\0"])
def test_a_damaged_secret_is_a_fault_that_names_the_row(key_file: Path, change):
    keys = KeyRing(key_file)
    key_id, sealed = keys.seal("s3cret", "line:l1")
    with pytest.raises(Fault, match="line:l1 does not open"):
        keys.open(key_id, change(sealed), "line:l1")


def test_a_key_that_is_gone_is_named(key_file: Path):
    keys = KeyRing(key_file)
    with pytest.raises(Fault, match=r"secret-key: the key k9 that sealed line:l1 is missing"):
        keys.open("k9", b"x" * 40, "line:l1")


def test_a_secret_does_not_open_with_another_key_of_the_same_name(tmp_path: Path):
    one = KeyRing(written(tmp_path / "one", f"k1 {KEY}\n"))
    other = KeyRing(written(tmp_path / "other", f"k1 {OTHER}\n"))
    key_id, sealed = one.seal("s3cret", "line:l1")
    with pytest.raises(Fault, match="does not open with the key k1"):
        other.open(key_id, sealed, "line:l1")


def test_a_new_key_seals_and_the_old_one_opens(key_file: Path):
    old = KeyRing(key_file).seal("s3cret", "line:l1")
    add_key(key_file)
    keys = KeyRing(key_file)
    assert keys.current != old[0]
    assert keys.open(*old, "line:l1") == "s3cret"


def test_a_process_that_runs_meets_the_new_key_when_it_opens(key_file: Path):
    running = KeyRing(key_file)
    add_key(key_file)
    sealed = KeyRing(key_file).seal("s3cret", "line:l1")
    assert running.open(*sealed, "line:l1") == "s3cret"


def test_a_process_that_runs_seals_with_the_new_key_from_then_on(key_file: Path):
    """Otherwise it would go on with a key that `key prune` has dropped, and no restart could open that."""
    running = KeyRing(key_file)
    add_key(key_file)
    keep_only(key_file, {KeyRing(key_file).current})
    key_id, sealed = running.seal("s3cret", "line:l1")
    assert KeyRing(key_file).open(key_id, sealed, "line:l1") == "s3cret"


def test_dropped_keys_are_gone_and_the_current_one_stays(key_file: Path):
    add_key(key_file)
    current = KeyRing(key_file).current
    assert keep_only(key_file, {current}) == 1
    assert repr(KeyRing(key_file)).endswith("1 keys)")


def test_blank_lines_that_an_editor_left_are_nothing(tmp_path: Path):
    path = written(tmp_path / "secret-key", f"\nk1 {KEY}\n\nk2 {OTHER}\n\n")
    assert KeyRing(path).current == "k1"
    assert keep_only(path, {"k1"}) == 1
    assert KeyRing(path).current == "k1"


def test_etags_survive_a_rotation(key_file: Path):
    before = KeyRing(key_file).signing_key
    add_key(key_file)
    assert KeyRing(key_file).signing_key == before


def test_a_new_key_file_is_private(key_file: Path):
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600


def test_what_is_written_privately_is_private_whatever_the_umask(tmp_path: Path):
    before = os.umask(0)
    try:
        secrets.write_private(tmp_path / "x", "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o610])
def test_a_key_that_others_may_read_is_refused(key_file: Path, mode: int):
    key_file.chmod(mode)
    with pytest.raises(Fault, match="chmod 600"):
        KeyRing(key_file)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "holds no key"),
        ("\n\n", "holds no key"),
        (KEY, "is not lines of"),
        (f"k1 {KEY} more", "is not lines of"),
        (f"k1 {KEY[:-4]}", "is not lines of"),
        (f"k1 {KEY[:-2]}!!", "is not lines of"),
        (f"k1 {base64.b64encode(b'K' * 31).decode()}", "is not lines of"),
        (f"k1 {KEY}\nk2 {base64.b64encode(b'K' * 33).decode()}", "is not lines of"),
        (f"k1 {KEY}é", "cannot be read"),
    ],
)
def test_a_broken_key_file_is_named_and_never_quoted(tmp_path: Path, text: str, told: str):
    path = tmp_path / "secret-key"
    path.write_text(text, "utf-8")
    path.chmod(0o600)
    with pytest.raises(Fault) as caught:
        KeyRing(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert told in str(caught.value)
    assert KEY[:8] not in str(caught.value)


def test_a_missing_key_file_is_named(tmp_path: Path):
    with pytest.raises(Fault, match="secret-key: the secret key cannot be read"):
        KeyRing(tmp_path / "secret-key")


def test_a_key_ring_shows_no_key(tmp_path: Path):
    keys = KeyRing(written(tmp_path / "secret-key", f"k1 {KEY}\n"))
    shown = repr(keys) + str(keys) + f"{keys}"
    assert KEY not in shown
    assert repr(b"K" * 8)[2:-1] not in shown


def test_a_new_secret_is_128_bits_that_every_url_takes():
    made = {secrets.new_secret() for _ in range(100)}
    assert len(made) == 100
    assert all(len(secret) == 32 and secret.isalnum() for secret in made)


def test_an_etag_is_strong_and_depends_on_the_key():
    tag = secrets.etag(b"k1", b"body")
    assert tag[0] == tag[-1] == '"'
    assert len({tag, secrets.etag(b"k2", b"body"), secrets.etag(b"k1", b"bodz")}) == 3
