"""Sends NOTIFY to one next hop, the operator's proxy, over UDP, TCP or TLS.

The proxy has to be the one that reaches the phone: its NAT drops whatever comes from another address than
the registrar's. Nothing received is ever answered, so nobody can use us as a reflector.
"""

import asyncio
import ssl
from dataclasses import dataclass

from provisioning.sip.digest import Credentials
from provisioning.sip.flow import Flow, FlowError, NextHop, in_words, open_flow
from provisioning.sip.message import Response, check_header
from provisioning.sip.notification import Notification, user_of

__all__ = ["Credentials", "NextHop", "Outcome", "SipClient"]

_NAME_LIFETIME = 60.0  # getaddrinfo does not tell how long an address is good for


@dataclass(frozen=True, slots=True)
class Outcome:
    status: int
    reason: str
    local: bool
    """Nobody answered: 408 for silence, 503 for a next hop that cannot be reached."""


class SipClient:
    """For one event loop; any number of `notify` may run at once."""

    def __init__(
        self,
        next_hop: NextHop,
        *,
        sender: str,
        credentials: Credentials | None = None,
        t1: float = 0.5,
        ssl_context: ssl.SSLContext | None = None,
        user_agent: str = "provisioning",
    ) -> None:
        user_of(sender)  # refused at the start, not at the first NOTIFY
        check_header(f"User-Agent: {user_agent}")
        self._next_hop = next_hop
        self._sender = sender
        self._credentials = credentials
        self._t1 = t1
        self._ssl = (ssl_context or ssl.create_default_context()) if next_hop.transport == "tls" else None
        self._user_agent = user_agent
        self._flows: list[Flow] = []  # the last one serves, those before it are on their way out
        self._name_good_until = 0.0
        self._opening = asyncio.Lock()
        self._failures = 0
        self._failure = ""
        self._closed = False

    async def notify(
        self,
        target: str,
        event: str,
        *,
        credentials: Credentials | None = None,
        body: bytes = b"",
        content_type: str | None = None,
    ) -> Outcome:
        """`credentials` are the line's, for a phone that asks for them; the client's own are for the proxy.

        `ValueError` when no message can be made of the arguments; nothing has been sent then.
        """
        notification = Notification(
            target,
            event,
            self._sender,
            self._user_agent,
            {401: credentials or self._credentials, 407: self._credentials or credentials},
            body,
            content_type,
        )
        try:
            response = await self._exchange(notification)
            while notification.authorise(response):
                response = await self._exchange(notification)
        except TimeoutError:
            return Outcome(408, f"{self._next_hop}: no answer in {64 * self._t1:g} s", local=True)
        except OSError as error:
            return Outcome(503, f"{self._next_hop}: {in_words(error)}", local=True)
        return Outcome(response.status, response.reason, local=False)

    async def close(self) -> None:
        self._closed = True
        for flow in self._flows:
            await flow.close()

    async def _exchange(self, notification: Notification) -> Response:
        flow = await self._current_flow()
        served_before = flow.heard > 0
        try:
            return await self._send(notification, flow)
        except FlowError:
            # Most likely a connection closed for being idle, and nobody has seen the request. One that
            # never worked is broken for a better reason.
            if not served_before:
                raise
        return await self._send(notification, await self._current_flow())

    async def _send(self, notification: Notification, flow: Flow) -> Response:
        request = notification.request(self._next_hop.transport, flow.local)
        return await flow.request(request, self._t1)

    async def _current_flow(self) -> Flow:
        if flow := self._good_flow():
            return flow
        failures = self._failures
        async with asyncio.timeout(64 * self._t1), self._opening:
            # While this one waited, another may have opened it, or failed to: a hundred NOTIFY at once
            # knock once at a closed door.
            if flow := self._good_flow():
                return flow
            if self._failures > failures:
                raise FlowError(self._failure)
            try:
                return await self._renewed_flow()
            except OSError as error:
                self._failures += 1
                self._failure = in_words(error)
                raise

    def _good_flow(self) -> Flow | None:
        if not self._flows or self._flows[-1].retired:
            return None
        return self._flows[-1] if asyncio.get_running_loop().time() < self._name_good_until else None

    async def _renewed_flow(self) -> Flow:
        if self._closed:
            raise FlowError("the client was closed")
        self._flows = [flow for flow in self._flows if not flow.gone]
        # Set before the name is looked up: with a slow resolver one NOTIFY waits, not all of them.
        self._name_good_until = asyncio.get_running_loop().time() + _NAME_LIFETIME
        if self._flows and await self._flows[-1].moved():
            self._flows[-1].retire()
        if not self._flows or self._flows[-1].retired:
            self._flows.append(await open_flow(self._next_hop, self._ssl))
        if self._closed:  # while it was being opened
            await self._flows[-1].close()
        return self._flows[-1]
