"""A SIP user agent that sends what a test wrote, byte for byte, and keeps what it hears."""

import asyncio
import re
import secrets

from provisioning.sip import digest, message
from provisioning.sip.digest import Credentials


class ScriptedPeer(asyncio.DatagramProtocol):
    def __init__(self):
        self.heard = asyncio.Queue()
        self.address = None

    @classmethod
    async def open(cls, address="127.0.0.1"):
        loop = asyncio.get_running_loop()
        transport, peer = await loop.create_datagram_endpoint(cls, local_addr=(address, 0))
        peer.transport = transport
        peer.address = transport.get_extra_info("sockname")[:2]
        return peer

    async def close(self):
        self.transport.close()
        await asyncio.sleep(0)

    async def __aenter__(self):
        return self

    async def __aexit__(self, *exc):
        await self.close()

    def datagram_received(self, data, addr):
        self.heard.put_nowait((message.parse(data), addr[:2]))

    def send(self, data, to):
        self.transport.sendto(data if isinstance(data, bytes) else data.encode(), to)

    async def hears(self, within=1.0):
        async with asyncio.timeout(within):
            return (await self.heard.get())[0]

    async def hears_nothing(self, during=0.1):
        try:
            heard = await self.hears(during)
        except TimeoutError:
            return
        raise AssertionError(f"heard {heard}")

    async def ask(self, data, to):
        self.send(data, to)
        return await self.hears()

    def text(self, method, uri, user, *more, branch=None, cseq=1, call_id="call-1"):
        host, port = self.address
        return "\r\n".join(
            [
                f"{method} {uri} SIP/2.0",
                f"Via: SIP/2.0/UDP {host}:{port};branch={branch or 'z9hG4bK' + secrets.token_hex(6)};rport",
                "Max-Forwards: 70",
                f"From: <sip:{user}@sip.example.net>;tag=abc",
                f"To: <sip:{user}@sip.example.net>",
                f"Call-ID: {call_id}",
                f"CSeq: {cseq} {method}",
                *more,
                "Content-Length: 0",
                "",
                "",
            ]
        )

    def notify(self, user, *more, event="check-sync;reboot=false", **how):
        uri = f"sip:{user}@sip.example.net"
        return self.text("NOTIFY", uri, user, f"Event: {event}", "Subscription-State: active", *more, **how)

    async def register(self, registrar, user, password, *, expires=600, algorithm=None, more=(), contact=None):
        host, port = self.address
        uri = "sip:sip.example.net"
        contact = contact or f"Contact: <sip:{user}@{host}:{port}>"
        headers = (contact, f"Expires: {expires}", "User-Agent: Yealink SIP-T46S 66.86.0.15", *more)
        challenged = await self.ask(self.text("REGISTER", uri, user, *headers), registrar.address)
        assert challenged.status == 401
        offered = [c for value in challenged.all("WWW-Authenticate") for c in digest.challenges(value)]
        chosen = next(c for c in offered if algorithm in (None, c.algorithm))
        proof = digest.answer(chosen, Credentials(user, password), method="REGISTER", uri=uri)
        return await self.ask(
            self.text("REGISTER", uri, user, *headers, f"Authorization: {proof}", cseq=2), registrar.address
        )

    def answer(self, request, status, reason="OK", *more):
        copied = [f"Via: {via}" for via in request.all("Via")]
        copied += [f"{name}: {request.get(name)}" for name in ("From", "Call-ID", "CSeq")]
        to = request.get("To")
        copied.append(f"To: {to}" if re.search(";tag=", to) else f"To: {to};tag=xyz")
        lines = [f"SIP/2.0 {status} {reason}", *copied, *more, "Content-Length: 0", "", ""]
        return "\r\n".join(lines)
