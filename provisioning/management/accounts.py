"""/v1/accounts"""

import secrets

from aiohttp import web

from provisioning.domain.errors import Refused
from provisioning.domain.line import check_name, check_text
from provisioning.domain.proof import PROOFS
from provisioning.management import bodies, changes, views
from provisioning.management.context import answer, body, context, limit, once, operator, page, removed, token
from provisioning.management.snapshots import Subject
from provisioning.store import accounts


async def list_accounts(request: web.Request) -> web.Response:
    most = limit(request)
    found = await context(request).database.read(
        accounts.page, only=token(request).account_id, after=request.query.get("after", ""), limit=most
    )
    return page([views.account(stored) for stored in found], found[-1].account if len(found) == most else None)


async def create(request: web.Request) -> web.Response:
    operator(request)
    new = await body(request, bodies.NewAccount)
    account = check_name("account", new.account if new.account is not None else f"account-{secrets.token_hex(4)}")
    check_text("name", new.name, 200)
    return await once(
        request,
        201,
        lambda connection, terms: (
            views.account(changes.new_account(connection, terms, account, new.name)),
            f"/v1/accounts/{account}",
        ),
        subject=Subject("account", account),
    )


async def read(request: web.Request) -> web.Response:
    management = context(request)
    terms = management.terms(token(request))
    return answer(
        views.account(await management.database.read(changes.find_account, terms, request.match_info["account"]))
    )


async def change(request: web.Request) -> web.Response:
    operator(request)
    changed = await body(request, bodies.AccountChange)
    columns = bodies.given(changed)
    if "name" in columns:
        check_text("name", columns["name"], 200)
    if columns.get("proofs") is not None:
        columns["proofs"] = " ".join(_proofs(columns["proofs"]))
    account = request.match_info["account"]
    return await once(
        request,
        200,
        lambda connection, terms: (
            views.account(changes.change_account(connection, terms, account, columns)),
            None,
        ),
    )


async def remove(request: web.Request) -> web.Response:
    operator(request)
    account = request.match_info["account"]
    return await removed(request, lambda connection, terms: changes.remove_account(connection, terms, account))


def _proofs(given: list[str]) -> list[str]:
    for name in given:
        if name not in PROOFS:
            raise Refused("invalid-value", f"{name!r} is no proof; proofs are {', '.join(PROOFS)}.", field="proofs")
    return given
