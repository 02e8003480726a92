"""/v1/lines"""

import secrets

from aiohttp import web
from sqlalchemy import Connection

from provisioning.domain import line as rules
from provisioning.domain.errors import Refused
from provisioning.domain.line import Line
from provisioning.management import bodies, changes, sightings, views
from provisioning.management.context import (
    answer,
    asking,
    body,
    context,
    limit,
    once,
    operator,
    page,
    removed,
    started,
    token,
)
from provisioning.management.snapshots import Subject
from provisioning.store import accounts, lines


async def list_lines(request: web.Request) -> web.Response:
    most, only, query = limit(request), token(request).account_id, request.query

    def find(connection: Connection) -> list[lines.StoredLine]:
        account_id = accounts.to_list(connection, query.get("account"), only)
        return lines.page(connection, account_id=account_id, after=query.get("after", ""), limit=most)

    found = await context(request).database.read(find)
    return page([views.line(stored) for stored in found], found[-1].line if len(found) == most else None)


async def create(request: web.Request) -> web.Response:
    operator(request)
    new = await body(request, bodies.NewLine)
    line = rules.check(
        Line(
            name=new.line if new.line is not None else f"line-{secrets.token_hex(4)}",
            account=new.account,
            number=new.number,
            username=new.username,
            password=new.password,
            domain=new.domain,
            display_name=new.display_name,
            outbound_proxy=new.outbound_proxy,
            transport=new.transport,
        )
    )
    return await once(
        request,
        201,
        lambda connection, terms: (
            views.line(changes.new_line(connection, terms, line)),
            f"/v1/lines/{line.name}",
        ),
        subject=Subject("line", line.name),
        masked=("password",),
    )


async def read(request: web.Request) -> web.Response:
    return answer(views.line(await _find(request)))


async def change(request: web.Request) -> web.Response:
    operator(request)
    wanted = await body(request, bodies.LineChange)
    changed = bodies.given(wanted)
    line = request.match_info["line"]
    return await once(
        request,
        200,
        lambda connection, terms: (views.line(changes.change_line(connection, terms, line, changed)), None),
        masked={"password"} & set(changed),
    )


async def remove(request: web.Request) -> web.Response:
    operator(request)
    line = request.match_info["line"]
    return await removed(request, lambda connection, terms: changes.remove_line(connection, terms, line))


async def attachable_phones(request: web.Request) -> web.Response:
    """Every phone of the account, each with what an attach would be refused for."""
    line = await _find(request)
    await sightings.refresh(request, line.line)
    management = context(request)
    found = await management.database.read(changes.suited, management.terms(token(request)), line)
    who = asking(request, None, None)
    return answer({"items": [views.attachable(phone, line, who, unfit) for phone, unfit in found]})


async def attach(request: web.Request) -> web.Response:
    wanted = await body(request, bodies.Attach)
    who, line = asking(request, wanted.public_ip, wanted.mac), request.match_info["line"]
    await sightings.refresh(request, line, who.mac)
    return await started(request, lambda connection, terms: changes.attach(connection, terms, line, who, wanted.slot))


async def detach(request: web.Request) -> web.Response:
    wanted = await body(request, bodies.Detach)
    if wanted.force:
        operator(request)
    who = asking(request, wanted.public_ip, wanted.mac)
    line = request.match_info["line"]
    await sightings.refresh(request, line)
    return await started(
        request, lambda connection, terms: changes.detach(connection, terms, line, who, force=wanted.force)
    )


async def _find(request: web.Request) -> lines.StoredLine:
    name = request.match_info["line"]
    line = await context(request).database.read(lines.find, name, only=token(request).account_id)
    if line is None:
        raise Refused("line-not-found", f"There is no line {name}.")
    return line
