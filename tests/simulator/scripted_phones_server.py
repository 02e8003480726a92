"""A web server that gives phones what a test wrote, and the configurations that tests write."""

from xml.sax.saxutils import escape

from aiohttp import web


class ScriptedServer:
    """`files`, by file name: bytes, a status, or a response of its own."""

    def __init__(self):
        self.files = {}
        self.etags = {}
        self.requests = []
        self.url = ""

    async def start(self, tls=None):
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=tls).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"{'https' if tls else 'http'}://{host}:{port}"

    async def close(self):
        await self._runner.cleanup()

    def names(self):
        return [request.path.rpartition("/")[2] for request in self.requests]

    async def _handle(self, request):
        self.requests.append(request)
        name = request.path.rpartition("/")[2]
        content = self.files.get(name, 404)
        if callable(content):
            content = content(request)
        if isinstance(content, web.StreamResponse):
            return content
        if isinstance(content, int):
            return web.Response(status=content)
        etag = self.etags.get(name)
        if etag and request.headers.get("If-None-Match") == etag:
            return web.Response(status=304)
        return web.Response(body=content, headers={"ETag": etag} if etag else {})


def line(username, registrar, password=None):
    host, port = registrar.address
    return username, password or f"secret{username}", host, port


def yealink(*lines, **settings):
    text = ["#!version:1.0.0.1", "sip.notify_reboot_enable = 0"]
    text += [f"{name.replace('__', '.')} = {value}" for name, value in settings.items()]
    for slot in range(1, 4):
        username, password, host, port = lines[slot - 1] if slot <= len(lines) else ("", "", "", 0)
        text += [
            f"account.{slot}.enable = {1 if username else 0}",
            f"account.{slot}.user_name = {username or '%NULL%'}",
            f"account.{slot}.password = {password or '%NULL%'}",
            f"account.{slot}.sip_server.1.address = {'sip.example.net' if username else '%NULL%'}",
            f"account.{slot}.outbound_proxy_enable = {1 if username else 0}",
            f"account.{slot}.outbound_proxy.1.address = {host or '%NULL%'}",
            f"account.{slot}.outbound_proxy.1.port = {port or '%NULL%'}",
        ]
    return "\n".join([*text, ""]).encode()


def snom(*lines, **settings):
    text = [f'<{name} perm="R">{escape(value)}</{name}>' for name, value in settings.items()]
    for slot, (username, password, host, port) in enumerate(lines, 1):
        values = {"active": "on", "name": username, "pass": password, "host": "sip.example.net"}
        values["outbound"] = f"{host}:{port}"
        text += [f'<user_{name} idx="{slot}" perm="R">{value}</user_{name}>' for name, value in values.items()]
    return f'<settings><phone-settings e="2">{"".join(text)}</phone-settings></settings>'.encode()


def linphone(*lines, **misc):
    def section(name, entries):
        written = (f'<entry name="{k}" overwrite="true">{escape(v)}</entry>' for k, v in entries.items())
        return f'<section name="{name}">{"".join(written)}</section>'

    text = section("misc", {name.replace("_", "-"): value for name, value in misc.items()})
    for index, (username, password, host, port) in enumerate(lines):
        text += section(f"auth_info_{index}", {"username": username, "passwd": password, "domain": "sip.example.net"})
        text += section(
            f"proxy_{index}",
            {
                "reg_proxy": f"<sip:{host}:{port};transport=udp>",
                "reg_identity": f"<sip:{username}@sip.example.net>",
                "reg_sendregister": "1",
            },
        )
    return f'<config xmlns="http://www.linphone.org/xsds/lpconfig.xsd">{text}</config>'.encode()


WRITERS = {"yealink": yealink, "snom": snom, "linphone": linphone}
OWN_FILE = {"yealink": "{mac}.cfg", "snom": "snomD785-{MAC}.xml", "linphone": "{mac}.xml"}


def own_file(vendor, mac):
    return OWN_FILE[vendor].replace("{mac}", mac).replace("{MAC}", mac.upper())
