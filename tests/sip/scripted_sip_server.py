"""A SIP server on loopback that records what it gets and misbehaves as it is told."""

import asyncio
import contextlib
import datetime as dt
import ipaddress
import ssl

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from provisioning.sip.client import NextHop
from provisioning.sip.message import frame, parse

HANG_UP = object()


class Later:
    def __init__(self, seconds, message):
        self.seconds, self.message = seconds, message


class ScriptedServer:
    """`script(request, number)` returns what to send back for the request of that number, from 1: a list of
    responses, bytes, `Later(seconds, either)` or `HANG_UP`. Retransmissions count as requests."""

    def __init__(self, script):
        self.script = script
        self.requests = []
        self.times = []
        self.connections = 0
        self.next_hop = None
        self.transports = set()
        self.endpoint = None

    async def listen(self, transport, host, port=0, ssl_context=None):
        loop = asyncio.get_running_loop()
        if transport == "udp":
            self.endpoint, _ = await loop.create_datagram_endpoint(lambda: Datagrams(self), local_addr=(host, port))
            port = self.endpoint.get_extra_info("sockname")[1]
        else:
            self.endpoint = await loop.create_server(lambda: Stream(self), host, port, ssl=ssl_context)
            port = self.endpoint.sockets[0].getsockname()[1]
        self.next_hop = NextHop(transport, host, port)

    async def stop(self):
        self.endpoint.close()
        for transport in list(self.transports):
            transport.abort()
        while self.transports:  # noqa: ASYNC110 - a few turns of the loop
            await asyncio.sleep(0)
        await asyncio.sleep(0.001)  # what was closed is gone by then

    def receive(self, data, send, hang_up=None):
        request = parse(data)
        loop = asyncio.get_running_loop()
        self.requests.append(request)
        self.times.append(loop.time())
        for step in self.script(request, len(self.requests)) or []:
            if step is HANG_UP:
                hang_up()
            elif isinstance(step, Later):
                loop.call_later(step.seconds, send, as_bytes(step.message))
            else:
                send(as_bytes(step))


def as_bytes(message):
    return message if isinstance(message, bytes) else message.serialise()


class Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server):
        self.server = server

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        self.server.receive(data, lambda reply: self.send(reply, address))

    def send(self, reply, address):
        if not self.transport.is_closing():
            self.transport.sendto(reply, address)


class Stream(asyncio.Protocol):
    def __init__(self, server):
        self.server = server
        self.buffer = bytearray()

    def connection_made(self, transport):
        self.transport = transport
        self.server.connections += 1
        self.server.transports.add(transport)

    def connection_lost(self, error):
        self.server.transports.discard(self.transport)

    def data_received(self, data):
        self.buffer += data
        while message := frame(self.buffer):
            self.server.receive(message, self.send, self.transport.close)

    def send(self, reply):
        if not self.transport.is_closing():
            self.transport.write(reply)


@contextlib.asynccontextmanager
async def sip_server(script, transport="udp", host="127.0.0.1", ssl_context=None):
    server = ScriptedServer(script)
    await server.listen(transport, host, ssl_context=ssl_context)
    try:
        yield server
    finally:
        await server.stop()


def certificate(path, *names):
    """A self-signed one for these addresses and names; the server's context and the client's."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "scripted SIP server")])
    now = dt.datetime.now(dt.UTC)
    day = dt.timedelta(days=1)
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(x509.SubjectAlternativeName([general_name(name) for name in names]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = built.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(pem + private)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(path)
    return server, ssl.create_default_context(cadata=pem.decode())


def general_name(name):
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
