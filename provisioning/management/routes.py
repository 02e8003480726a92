"""Every route of the management API, in one list."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal

from aiohttp import web

from provisioning.management import (
    accounts,
    alarms,
    audit,
    bodies,
    function_keys,
    health,
    lines,
    operations,
    phonebooks,
    phones,
    sessions,
    settings,
    tokens,
    unknown,
)
from provisioning.store.tokens import Scope

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Route:
    method: str
    path: str
    handler: Handler
    does: str
    takes: type[Any] | None = None
    gives: type[Any] | None = None
    status: int = 200
    many: Literal["", "array", "list", "pages"] = ""
    "How several are given: plainly, as {items, next}, or so a page at a time."
    query: tuple[str, ...] = ()
    token: bool = True
    scope: Scope | None = None
    "What a token must be allowed; None: to read for GET, to administer for everything else."

    @property
    def needs(self) -> Scope:
        return self.scope or ("read" if self.method == "GET" else "admin")


ROUTES = (
    Route("GET", "/v1/accounts", accounts.list_accounts, "Accounts", gives=bodies.Account, many="pages"),
    Route("POST", "/v1/accounts", accounts.create, "Make an account", bodies.NewAccount, bodies.Account, 201),
    Route("GET", "/v1/accounts/{account}", accounts.read, "One account", gives=bodies.Account),
    Route("PATCH", "/v1/accounts/{account}", accounts.change, "Rename it", bodies.AccountChange, bodies.Account),
    Route("DELETE", "/v1/accounts/{account}", accounts.remove, "Remove it, once it owns nothing", status=204),
    Route("GET", "/v1/lines", lines.list_lines, "Lines", gives=bodies.Line, many="pages", query=("account",)),
    Route("POST", "/v1/lines", lines.create, "Make a line", bodies.NewLine, bodies.Line, 201),
    Route("GET", "/v1/lines/{line}", lines.read, "One line, with its phone and slot", gives=bodies.Line),
    Route("PATCH", "/v1/lines/{line}", lines.change, "Change it; its phone is told", bodies.LineChange, bodies.Line),
    Route("DELETE", "/v1/lines/{line}", lines.remove, "Remove it, once it is on no phone", status=204),
    Route(
        "GET",
        "/v1/lines/{line}/attachable-phones",
        lines.attachable_phones,
        "Every phone of the account: whether the line can be attached to it, and if not, why",
        gives=bodies.AttachablePhone,
        many="list",
    ),
    Route(
        "POST",
        "/v1/lines/{line}/attach",
        lines.attach,
        "Put it into a slot",
        bodies.Attach,
        bodies.Operation,
        202,
        scope="operate",
    ),
    Route(
        "POST",
        "/v1/lines/{line}/detach",
        lines.detach,
        "Take it out",
        bodies.Detach,
        bodies.Operation,
        202,
        scope="operate",
    ),
    Route("GET", "/v1/phones", phones.list_phones, "Phones", gives=bodies.Phone, many="pages", query=("account",)),
    Route("POST", "/v1/phones", phones.create, "Make a phone", bodies.NewPhone, bodies.Phone, 201),
    Route("GET", "/v1/phones/{mac}", phones.read, "One phone", gives=bodies.Phone),
    Route("PATCH", "/v1/phones/{mac}", phones.change, "Change it", bodies.PhoneChange, bodies.Phone),
    Route("DELETE", "/v1/phones/{mac}", phones.remove, "Remove it, once it holds no line", status=204),
    Route(
        "POST",
        "/v1/phones/{mac}/promote",
        phones.promote,
        "Make one of its lines the main line",
        bodies.Promote,
        bodies.Operation,
        202,
        scope="operate",
    ),
    Route(
        "POST",
        "/v1/phones/{mac}/resync",
        phones.resync,
        "Make it fetch now",
        bodies.Resync,
        bodies.Operation,
        202,
        scope="operate",
    ),
    Route(
        "POST",
        "/v1/phones/{mac}/reset",
        phones.reset,
        "Give it a new secret and open a door for it",
        bodies.Reset,
        bodies.Operation,
        202,
        scope="operate",
    ),
    Route(
        "POST",
        "/v1/phones/{mac}/ship",
        phones.ship,
        "Arm it with a one-time URL, for the vendor's redirect service or for staging",
        gives=bodies.Shipped,
    ),
    Route(
        "POST",
        "/v1/phones/{mac}/return",
        phones.give_back,
        "Take it back: no line, nothing it knows is worth anything",
        gives=bodies.Operation,
        status=202,
    ),
    Route(
        "POST",
        "/v1/phones/{mac}/secret",
        phones.new_secret,
        "Give it a new secret; the present one is valid until it shows the new one",
        gives=bodies.Operation,
        status=202,
        scope="operate",
    ),
    Route(
        "POST",
        "/v1/phones/{mac}/door",
        phones.open_door,
        "Let it fetch its lines from this address without another proof, once, for a while",
        bodies.OpenDoor,
        bodies.Phone,
        scope="operate",
    ),
    Route("DELETE", "/v1/phones/{mac}/door", phones.close_door, "Close its open door", status=204, scope="operate"),
    Route(
        "POST",
        "/v1/phones/{mac}/code",
        phones.new_code,
        "Make an activation code, to be typed on the phone",
        gives=bodies.ActivationCode,
        scope="operate",
    ),
    Route(
        "GET",
        "/v1/phones/{mac}/passwords",
        phones.passwords,
        "How to get into its own menus and web page",
        gives=bodies.PhonePasswords,
        scope="operate",
    ),
    Route(
        "GET", "/v1/phones/{mac}/documents", phones.documents, "What it asks for", gives=bodies.Document, many="array"
    ),
    Route("GET", "/v1/phones/{mac}/documents/{name}", phones.document, "One document, its secrets masked"),
    Route("GET", "/v1/phones/{mac}/events", phones.events, "Its story", gives=bodies.Event, many="pages"),
    *(
        route
        for path, whose in (
            ("/v1/settings", "all phones"),
            ("/v1/models/{model}", "a model"),
            ("/v1/accounts/{account}", "an account"),
            ("/v1/phones/{mac}", "a phone"),
            ("/v1/lines/{line}", "a line"),
        )
        for where in [path if path.endswith("settings") else f"{path}/settings"]
        for route in (
            Route("GET", where, settings.read_settings, f"Settings of {whose}", gives=bodies.Settings),
            Route(
                "PATCH",
                where,
                settings.change_settings,
                f"Choose for {whose}",
                bodies.SettingsChange,
                bodies.Settings,
                scope="admin" if whose in ("all phones", "a model") else "operate",
            ),
        )
    ),
    Route("GET", "/v1/phones/{mac}/keys", function_keys.list_keys, "Its function keys", gives=bodies.Keys),
    Route(
        "PUT",
        "/v1/phones/{mac}/keys",
        function_keys.put_keys,
        "Set those keys",
        bodies.KeysChange,
        bodies.Keys,
        scope="operate",
    ),
    Route(
        "PUT",
        "/v1/phones/{mac}/keys/{key}",
        function_keys.put_key,
        "Set one key",
        bodies.KeyChange,
        bodies.Keys,
        scope="operate",
    ),
    Route(
        "POST",
        "/v1/phones/{mac}/keys/copy",
        function_keys.copy_keys,
        "Give all its keys to other phones",
        bodies.KeysCopy,
        bodies.KeysCopied,
        scope="operate",
    ),
    *(
        route
        for path in ("/v1/accounts/{account}/phonebook", "/v1/phones/{mac}/phonebook")
        for route in (
            Route("GET", path, phonebooks.list_contacts, "Its contacts", gives=bodies.Contact, many="list"),
            Route("POST", path, phonebooks.create, "Add one", bodies.NewContact, bodies.Contact, 201, scope="operate"),
            Route("GET", f"{path}/export", phonebooks.export, "As CSV or vCard", query=("format",)),
            Route(
                "POST",
                f"{path}/import",
                phonebooks.take,
                "From CSV or vCard, all of it or nothing",
                bodies.PhonebookImport,
                bodies.PhonebookImported,
                scope="operate",
            ),
            Route(
                "PATCH",
                f"{path}/{{contact}}",
                phonebooks.change,
                "Change one",
                bodies.ContactChange,
                bodies.Contact,
                scope="operate",
            ),
            Route("DELETE", f"{path}/{{contact}}", phonebooks.remove, "Remove one", status=204, scope="operate"),
        )
    ),
    Route(
        "GET", "/v1/phones/{mac}/uploads", phones.list_uploads, "Files that it sent", gives=bodies.Upload, many="list"
    ),
    Route("GET", "/v1/phones/{mac}/uploads/{name}", phones.read_upload, "One of them", scope="operate"),
    Route(
        "GET",
        "/v1/unknown-phones",
        unknown.list_unknown,
        "Phones that asked and are nobody's",
        gives=bodies.UnknownPhone,
        many="pages",
        scope="operate",
    ),
    Route("DELETE", "/v1/unknown-phones/{mac}", unknown.forget, "Forget one", status=204),
    Route("GET", "/v1/models", phones.list_models, "Models", gives=bodies.Model, many="list"),
    Route("GET", "/v1/models/{model}", phones.read_model, "One model", gives=bodies.Model),
    Route(
        "GET",
        "/v1/operations",
        operations.list_operations,
        "Operations, the newest first",
        gives=bodies.Operation,
        many="pages",
        query=("phone", "line", "state"),
    ),
    Route("GET", "/v1/operations/{id}", operations.read, "One operation", gives=bodies.Operation),
    Route(
        "GET",
        "/v1/tokens",
        tokens.list_tokens,
        "Tokens, and when each was used last",
        gives=bodies.Token,
        many="pages",
        scope="admin",
    ),
    Route("POST", "/v1/tokens", tokens.create, "Make a token", bodies.NewToken, bodies.Token, 201),
    # Any token may remove itself; the handler asks for more where it is another.
    Route("DELETE", "/v1/tokens/{id}", tokens.remove, "Remove it; a token may remove itself", status=204, scope="read"),
    Route(
        "POST",
        "/v1/sessions",
        sessions.create,
        "Exchange a token for a session's cookie",
        bodies.NewSession,
        bodies.Session,
        201,
        token=False,
    ),
    Route("GET", "/v1/sessions/current", sessions.read, "The session that the cookie is of", gives=bodies.Session),
    Route("DELETE", "/v1/sessions/current", sessions.remove, "End it", status=204, scope="read"),
    Route(
        "GET",
        "/v1/audit",
        audit.list_entries,
        "Every change, the newest first",
        gives=bodies.AuditEntry,
        many="pages",
        query=("subject",),
        scope="admin",
    ),
    Route("GET", "/v1/alarms", alarms.list_alarms, "Alarms, the newest first", gives=bodies.Alarm, many="pages"),
    Route("GET", "/healthz", health.healthz, "This process answers", token=False),
    Route("GET", "/readyz", health.readyz, "It can serve", token=False),
    Route("GET", "/metrics", health.metrics, "Counters for Prometheus", token=False),
)
