"""…/settings: of the operator, a model, an account, a phone or a line."""

from aiohttp import web
from sqlalchemy import Connection

from provisioning.domain.settings import Scope
from provisioning.management import bodies, choosing, views
from provisioning.management.changes import Terms
from provisioning.management.choosing import For
from provisioning.management.context import answer, body, context, mac_in_path, need, once, operator, token
from provisioning.management.snapshots import Subject

_PATHS: dict[str, tuple[Scope, str]] = {
    "model": ("model", "model"),
    "account": ("account", "account"),
    "mac": ("phone", "mac"),
    "line": ("line", "line"),
}


def _named(request: web.Request) -> tuple[Scope, str]:
    for parameter, (scope, name) in _PATHS.items():
        if parameter in request.match_info:
            return scope, mac_in_path(request) if scope == "phone" else request.match_info[name]
    return "operator", ""


async def read_settings(request: web.Request) -> web.Response:
    scope, name = _named(request)
    if scope == "operator":
        operator(request)
    management = context(request)
    terms, whole = management.terms(token(request)), token(request).operator

    def find(connection: Connection) -> bodies.Settings:
        return _shown(connection, terms, choosing.whose(connection, terms, scope, name), whole=whole)

    return answer(await management.database.read(find))


async def change_settings(request: web.Request) -> web.Response:
    scope, name = _named(request)
    if scope in ("operator", "model"):
        operator(request)
    wanted = await body(request, bodies.SettingsChange)
    whole = token(request).operator
    if wanted.parameters:
        need(request, "admin")

    def work(connection: Connection, terms: Terms) -> tuple[object, str | None]:
        its = choosing.whose(connection, terms, scope, name)
        told = choosing.change_settings(
            connection,
            terms,
            its,
            wanted.settings,
            wanted.parameters,
            reboot=wanted.auto_reboot,
            operator=whole,
        )
        shown = _shown(connection, terms, its, whole=whole)
        shown.operations = [operation.id for operation in told]
        return shown, None

    return await once(request, 200, work, subject=Subject("settings", f"{scope} {name}".strip()))


def _shown(connection: Connection, terms: Terms, its: For, *, whole: bool) -> bodies.Settings:
    renderer = terms.vendors.renderer
    supported = None if its.model is None else renderer.settings_of(its.model)
    return views.settings(choosing.read(connection, its, terms.below), supported, whole=whole)
