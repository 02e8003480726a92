"""Asks the registrar where an account's phones are, when their last fetch is too long ago to tell.

A phone fetches once a day and registers every hour: the registrar is what makes its address current.
"""

import asyncio
import time

from aiohttp import web

from provisioning.domain.mac import Mac
from provisioning.domain.sighting import of_phone
from provisioning.management.context import context, token
from provisioning.store import lines, phones

AT_ONCE = 50
"Phones asked about in one request."


async def refresh(request: web.Request, line: str, mac: Mac | None = None) -> None:
    """For the phones of the line's account; `mac`: for this one of them."""
    management = context(request)
    if management.locate is None:
        return
    its = await management.database.read(lines.find, line, only=token(request).account_id)
    if its is None:
        return
    before = time.time() - management.config.network.freshness
    stale = await management.database.read(phones.not_seen_since, its.account_id, before, mac, AT_ONCE)
    if not stale:
        return
    answers = await asyncio.gather(*(management.locate(phone.address_of_record) for phone in stale))
    models = management.vendors.catalogue.models
    seen = [
        (phone.id, str(sighting.address), sighting.seen_at)
        for phone, found in zip(stale, answers, strict=True)
        if phone.model in models
        and (sighting := of_phone(found, models[phone.model].vendor_name)) is not None
        and sighting.seen_at > before
    ]
    if seen:
        await management.database.write(phones.sighted, seen)
