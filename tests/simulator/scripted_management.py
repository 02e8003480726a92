"""A management API that remembers what it was asked, and gives what the contract says."""

from aiohttp import web

MODELS = [
    {
        "model": "linphone-linphone",
        "vendor": "linphone",
        "family": "softphone",
        "prefixes": [],
        "name": "linphone",
        "slots": 8,
        "common": [],
    },
    {
        "model": "snom-d120",
        "vendor": "snom",
        "family": "desk",
        "prefixes": ["000413"],
        "name": "D120",
        "slots": 2,
        "common": [],
    },
    {
        "model": "snom-d785",
        "vendor": "snom",
        "family": "desk",
        "prefixes": ["000413"],
        "name": "D785",
        "slots": 12,
        "common": [],
    },
    {
        "model": "yealink-t46s",
        "vendor": "yealink",
        "family": "desk",
        "prefixes": ["001565"],
        "name": "T46S",
        "slots": 16,
        "common": ["y000000000066.cfg"],
    },
    {"model": "acme-1", "vendor": "acme", "family": "desk", "prefixes": [], "name": "1", "slots": 4, "common": []},
]
URL_ENDS = {"yealink": "", "snom": "{mac}.xml", "linphone": "{mac}.xml"}


def secret_of(mac):
    return f"secret-{mac[::-1]}"


class ScriptedManagement:
    def __init__(self, phones_url="http://127.0.0.1:1"):
        self.phones_url = phones_url
        self.accounts, self.lines, self.phones, self.attached = {}, {}, {}, []
        self.token = "t0ken"
        self.url = ""

    async def start(self):
        app = web.Application()
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/accounts", self._account)
        app.router.add_post("/v1/lines", self._line)
        app.router.add_post("/v1/phones", self._phone)
        app.router.add_post("/v1/lines/{line}/attach", self._attach)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"

    async def close(self):
        await self._runner.cleanup()

    def lines_of(self, mac):
        return [name for name, line in self.lines.items() if line.get("phone") == mac]

    def _problem(self, status, code, detail):
        problem = {"status": status, "code": code, "detail": detail}
        return web.json_response(problem, status=status, content_type="application/problem+json")

    async def _read(self, request):
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return None
        return await request.json() if request.can_read_body else {}

    async def _add(self, request, where, key):
        body = await self._read(request)
        if body is None:
            return None, self._problem(401, "unauthorized", "This token is not known.")
        if body[key] in where:
            return None, self._problem(409, "conflict", f"{body[key]} exists.")
        where[body[key]] = body
        return body, web.json_response(body, status=201)

    async def _models(self, request):
        if await self._read(request) is None:
            return self._problem(401, "unauthorized", "This token is not known.")
        at = int(request.query.get("cursor", "0"))  # two a page, so that pages matter
        following = str(at + 2) if at + 2 < len(MODELS) else None
        return web.json_response({"items": MODELS[at : at + 2], "next": following})

    async def _account(self, request):
        return (await self._add(request, self.accounts, "account"))[1]

    async def _line(self, request):
        return (await self._add(request, self.lines, "line"))[1]

    async def _phone(self, request):
        body, answer = await self._add(request, self.phones, "mac")
        if body is None:
            return answer
        vendor = next(model["vendor"] for model in MODELS if model["model"] == body["model"])
        self.lines[body["main_line"]]["phone"] = body["mac"]
        url = f"{self.phones_url}/p/{secret_of(body['mac'])}/{URL_ENDS[vendor].replace('{mac}', body['mac'])}"
        return web.json_response(body | {"vendor": vendor, "provisioning_url": url}, status=201)

    async def _attach(self, request):
        body = await self._read(request)
        self.lines[request.match_info["line"]]["phone"] = body["mac"]
        self.attached.append(body)
        return web.json_response({"id": "1", "state": "todo"}, status=202)
