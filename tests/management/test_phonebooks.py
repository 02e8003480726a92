"""…/phonebook: an account's and a phone's contacts, and the files that they come from."""

import pytest
from running import Api, Server, fetch
from waiting import address

from provisioning.simulator.dialects import yealink

ADA = {"name": "Ada", "surname": "Lovelace", "work": "+33972105555"}


async def names(server: Server, made: dict[str, str]) -> list[str]:
    """As its phone downloads it."""
    url = address(server, made).replace(".cfg", "-phonebook.xml")
    answer = await fetch(url, server)
    assert answer.status == 200, answer
    return [contact.name for contact in yealink.contacts(answer.body)]


async def test_an_accounts_is_for_all_its_phones_and_a_phones_for_itself(server: Server, api: Api) -> None:
    await api.account("books")
    first = await api.phone("001565a40001", account="books")
    second = await api.phone("001565a40002", account="books")
    assert await names(server, first) == []
    made = await api.make("/v1/accounts/books/phonebook", ADA)
    own = await api.make("/v1/phones/001565a40001/phonebook", {"name": "Bob", "mobile": "0033612345678"})
    assert own["mobile"] == "+33612345678"
    assert await names(server, first) == ["Ada Lovelace", "Bob"]
    assert await names(server, second) == ["Ada Lovelace"]
    changed = await api.call("PATCH", f"/v1/accounts/books/phonebook/{made['id']}", {"surname": "King"})
    assert (changed.status, changed.body["surname"], changed.body["work"]) == (200, "King", ADA["work"])
    assert await names(server, second) == ["Ada King"]
    assert (await api.call("DELETE", f"/v1/accounts/books/phonebook/{made['id']}")).status == 204
    assert await names(server, first) == ["Bob"]


async def test_it_is_served_on_a_proof_only(server: Server, api: Api) -> None:
    await api.account("proof")
    await api.phone("001565a40003", account="proof")
    await api.make("/v1/phones/001565a40003/phonebook", ADA)
    answer = await fetch(f"{server.http}/001565a40003-phonebook.xml", server)
    assert answer.status == 404
    assert b"Ada" not in answer.body


@pytest.mark.parametrize(
    ("contact", "field"),
    [
        ({"work": "+33972105555"}, "name"),
        ({"name": "Ada"}, "work"),
        ({"name": "Ada", "work": "call me"}, "work"),
        ({"name": "Ada", "mobile": "0612345678"}, "mobile"),
        ({"name": "a\nb", "work": "+33972105555"}, "name"),
        ({"name": "x" * 65, "work": "+33972105555"}, "name"),
    ],
)
async def test_what_is_no_contact_names_its_field(api: Api, contact: dict[str, str], field: str) -> None:
    await api.post("/v1/accounts", {"account": "no-contact"})
    refused = await api.post("/v1/accounts/no-contact/phonebook", contact)
    assert (refused.status, refused.code, refused.body["field"]) == (422, "invalid-value", field)
    assert (await api.get("/v1/accounts/no-contact/phonebook")).body["items"] == []


async def test_an_import_is_all_or_nothing_and_numbers_what_is_wrong(server: Server, api: Api) -> None:
    await api.account("import")
    path = "/v1/accounts/import/phonebook"
    text = "name,surname,work\nAda,Lovelace,+33972105555\nBob,,nonsense\n,,+33972105556\n"
    refused = await api.post(f"{path}/import", {"text": text})
    assert (refused.status, refused.code) == (422, "import-failed")
    assert [(error["row"], error["field"]) for error in refused.body["errors"]] == [(3, "work"), (4, "name")]
    assert (await api.get(path)).body["items"] == []
    taken = await api.post(f"{path}/import", {"text": "name;work\nAda;+33972105555\nBob;0033972105556\n"})
    assert (taken.status, taken.body) == (200, {"imported": 2})
    replaced = await api.post(f"{path}/import", {"text": "name,work\nEve,+33972105557\n", "replace": True})
    assert replaced.body == {"imported": 1}
    assert [one["name"] for one in (await api.get(path)).body["items"]] == ["Eve"]
    unknown = await api.post(f"{path}/import", {"text": "", "format": "xlsx"})
    assert (unknown.status, unknown.body["field"]) == (422, "format")


@pytest.mark.parametrize("kind", ["csv", "vcard"])
async def test_what_is_exported_can_be_imported(api: Api, kind: str) -> None:
    await api.account(f"export-{kind}")
    path = f"/v1/accounts/export-{kind}/phonebook"
    await api.make(path, ADA | {"group": "Friends; old, new"})
    await api.make(path, {"name": "=Bob", "home": "+33972105556"})
    before = [{**one, "id": 0} for one in (await api.get(path)).body["items"]]
    exported = await api.get(f"{path}/export?format={kind}")
    assert exported.status == 200
    text = exported.body.decode()
    taken = await api.post(f"{path}/import", {"text": text, "format": kind, "replace": True})
    assert taken.body == {"imported": 2}, taken
    assert [{**one, "id": 0} for one in (await api.get(path)).body["items"]] == before


async def test_what_is_not_there_and_what_a_model_has_not(api: Api) -> None:
    await api.account("absent")
    await api.phone("02c0dea40004", "linphone-desktop", "absent")
    refused = await api.post("/v1/phones/02c0dea40004/phonebook", ADA)
    assert (refused.status, refused.code) == (501, "unsupported-by-model")
    for number in ("1", "9" * 30):
        refused = await api.call("DELETE", f"/v1/accounts/absent/phonebook/{number}")
        assert (refused.status, refused.code) == (404, "contact-not-found")


async def test_one_accounts_contact_is_no_other_accounts(api: Api) -> None:
    await api.account("book-a")
    await api.account("book-b")
    made = await api.make("/v1/accounts/book-a/phonebook", ADA)
    for method in ("PATCH", "DELETE"):
        refused = await api.call(method, f"/v1/accounts/book-b/phonebook/{made['id']}", {})
        assert (refused.status, refused.code) == (404, "contact-not-found")
    assert len((await api.get("/v1/accounts/book-a/phonebook")).body["items"]) == 1
