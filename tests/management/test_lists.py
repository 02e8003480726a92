"""Lists: their pages and filters; and documents."""

import asyncio

import pytest
from running import Api, Server, fetch

from provisioning.rendering.compose import MASK

COUNT = 7


@pytest.fixture(scope="module")
def filled(server: Server) -> Server:
    async def build() -> None:
        api = Api(server)
        for number in range(COUNT):
            await api.account(f"page{number}")
            await api.line(f"page-l{number}", "page0")
            await api.phone(f"0015657000{number:02x}", account="page0")
        for number in range(COUNT):
            await api.make(f"/v1/lines/page-l{number}/attach", {"mac": "001565700000"})
        await api.close()

    asyncio.run(build())
    return server


async def pages(api: Api, path: str, limit: int) -> list[list[dict]]:
    found, after = [], None
    while True:
        sign = "&" if "?" in path else "?"
        cursor = "" if after is None else f"&after={after}"
        answer = (await api.get(f"{path}{sign}limit={limit}{cursor}")).body
        found.append(answer["items"])
        after = answer["next"]
        if after is None:
            return found
        assert len(answer["items"]) == limit


@pytest.mark.parametrize("limit", [1, 2, 3, COUNT - 1, COUNT, COUNT + 1, 1000])
@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("/v1/accounts", "account"),
        ("/v1/lines?account=page0", "line"),
        ("/v1/phones?account=page0", "mac"),
        ("/v1/operations?phone=001565700000", "id"),
        ("/v1/phones/001565700000/events", "id"),
    ],
)
async def test_pages_hold_everything_once_and_in_order(
    filled: Server, api: Api, path: str, key: str, limit: int
) -> None:
    whole = (await api.get(path)).body
    assert whole["next"] is None
    found = [item for page in await pages(api, path, limit) for item in page]
    assert found == whole["items"]
    assert len({item[key] for item in found}) == len(found) >= COUNT


async def test_what_is_added_while_somebody_reads_moves_no_page(filled: Server, api: Api) -> None:
    first = (await api.get("/v1/operations?phone=001565700000&limit=3")).body
    await api.make("/v1/phones/001565700000/resync", {})
    rest = (await api.get(f"/v1/operations?phone=001565700000&after={first['next']}")).body
    ids = [item["id"] for item in first["items"] + rest["items"]]
    assert len(set(ids)) == len(ids) >= COUNT


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("line=page-l3", 1),
        ("line=none", 0),
        ("phone=001565700000&line=page-l3", 1),
        ("phone=00:15:65:70:00:00&line=page-l3&state=doing", 1),
        ("line=page-l3&state=done", 0),
        ("line=page-l3&state=todo", 0),
        ("line=page-l3&state=error", 0),
        ("phone=001565700001", 0),
    ],
)
async def test_operations_are_filtered(filled: Server, api: Api, query: str, expected: int) -> None:
    assert len((await api.get(f"/v1/operations?{query}")).body["items"]) == expected


async def test_done_operations_are_found_as_done(server: Server, api: Api) -> None:
    await api.account("fin")
    await api.line("fin1", "fin")
    made = await api.phone("001565700100", account="fin")
    operation = await api.make("/v1/lines/fin1/attach", {"mac": "001565700100"})
    await fetch(f"{made['provisioning_url']}001565700100.cfg", server)
    await api.operation(operation["id"], "done")
    (found,) = (await api.get("/v1/operations?phone=001565700100&state=done")).body["items"]
    assert found["id"] == operation["id"]


@pytest.mark.parametrize("path", ["/v1/lines?account=none", "/v1/phones?account=none"])
async def test_a_filter_that_fits_nothing_is_an_empty_list(api: Api, path: str) -> None:
    assert (await api.get(path)).body == {"items": [], "next": None}


async def test_models_are_told_with_their_slots(api: Api) -> None:
    models = {model["model"]: model for model in (await api.get("/v1/models")).body["items"]}
    assert models["yealink-t54w"]["slots"] == 16
    assert {"resync", "reboot", "keys", "phonebook"} <= set(models["yealink-t54w"]["capabilities"])
    assert "resync" not in models["linphone-desktop"]["capabilities"]
    assert (await api.get("/v1/models/Yealink-T54W")).body == models["yealink-t54w"]


# Documents


@pytest.mark.parametrize(
    ("model", "mac", "names"),
    [
        ("yealink-t54w", "001565700200", {"y000000000096.cfg": 0, "001565700200.cfg": 1}),
        ("linphone-desktop", "001565700201", {"001565700201.xml": 1}),
        ("snom-d785", "000413700202", {"000413700202.xml": 1, "snomD785.htm": 0, "snomD785-000413700202.htm": 1}),
    ],
)
async def test_documents_are_listed_and_shown_masked(
    server: Server, api: Api, model: str, mac: str, names: dict[str, int]
) -> None:
    account = f"doc-{mac}"
    await api.account(account)
    line = await api.line(f"{account}-l", account, password="S3cret-of-a-line")
    made = await api.phone(mac, model, account, main_line=line["line"])
    listed = (await api.get(f"/v1/phones/{mac}/documents")).body
    assert names.items() <= {document["name"]: document["stage"] for document in listed}.items()
    secret = next(part for part in made["provisioning_url"].split("/") if len(part) == 32)
    for document in listed:
        shown = await api.get(f"/v1/phones/{mac}/documents/{document['name']}")
        assert shown.status == 200
        assert shown.headers["Content-Type"] == document["content_type"]
        assert b"S3cret-of-a-line" not in shown.body
        assert secret.encode() not in shown.body
        if document["stage"] == 1 and "phonebook" not in document["name"]:
            assert line["username"].encode() in shown.body
            assert MASK.encode() in shown.body
            real = (await fetch(f"{server.http}/{secret}/{document['path']}", server)).body
            own = (await api.get(f"/v1/phones/{mac}/passwords")).body
            for shown_to_the_phone in ("S3cret-of-a-line", secret, own["admin_password"], own["user_password"]):
                real = real.replace(shown_to_the_phone.encode(), MASK.encode())
            assert shown.body == real
        assert (await api.get(f"/v1/phones/{mac}/documents/{document['name'].upper()}")).status == 200


async def test_another_phones_document_is_not_shown(api: Api) -> None:
    await api.account("docs2")
    await api.phone("001565700300", account="docs2")
    answer = await api.get("/v1/phones/001565700300/documents/001565700200.cfg")
    assert answer.code == "document-not-found"


async def test_no_answer_shows_a_password_or_a_secret(server: Server, api: Api) -> None:
    await api.account("hush")
    await api.line("hush1", "hush", password="Hush-Pa55word")
    made = await api.phone("001565700400", account="hush", main_line="hush1")
    await fetch(f"{made['provisioning_url']}001565700400.cfg", server)
    await api.call("PATCH", "/v1/lines/hush1", {"password": "Hush-Pa55word-2"})
    secret = made["provisioning_url"].rstrip("/").rpartition("/")[2]
    for path in (
        "/v1/lines/hush1", "/v1/lines?account=hush", "/v1/phones/001565700400", "/v1/phones?account=hush", "/metrics",
        "/v1/phones/001565700400/events", "/v1/operations?phone=001565700400", "/v1/lines/hush1/attachable-phones",
    ):  # fmt: skip
        answer = str((await api.get(path)).body)
        assert "Hush-Pa55word" not in answer
        assert secret not in answer
    assert server.token not in (server.log.parent / "access.log").read_text()
    for text in (server.log.read_text(), (server.log.parent / "access.log").read_text()):
        assert "Hush-Pa55word" not in text
        assert secret not in text
