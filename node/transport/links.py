"""The links to and from the other members, over mutual TLS.

Outgoing: one task a peer keeps one stream open, and again after every failure, and writes what waits in the peer's
outbox, joined. Sending only appends to outboxes, so a slow or dead peer delays nobody.

Incoming: the TLS certificate says which member sends; the hello must agree. Whatever else a peer sends that is not
well-formed is logged with its code and dropped. A member has one incoming link; a newer one replaces it.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

import grpc
import grpc.aio

from node.consensus.messages import EVERYONE, Message
from node.errors import ConfigError, PeerError
from node.limits import MAX_FRAME_BYTES, SEND_QUEUE_MESSAGES_WHILE_DOWN
from node.model.genesis import Genesis
from node.transport.linkcontrol import LinkControl, LinkState
from node.transport.outbox import Outbox
from node.transport.tls import SERVER_NAME, certificate_der, channel_credentials, server_credentials
from node.transport.wire import Hello, decode_frame, encode_hello, encode_message, is_gossip

log = logging.getLogger("watt.peers")

METHOD = "/watt.peer.v1.Peer/Link"
FIRST_BACKOFF_S = 0.1
LAST_BACKOFF_S = 2.0
LASTING_S = 5.0
"""A link that held for so long was a good one: the next attempt waits FIRST_BACKOFF_S only."""

_KEEPALIVE = [
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
]
_SIZES = [("grpc.max_receive_message_length", MAX_FRAME_BYTES), ("grpc.max_send_message_length", MAX_FRAME_BYTES)]
_CHANNEL_OPTIONS = [
    *_SIZES,
    *_KEEPALIVE,
    ("grpc.ssl_target_name_override", SERVER_NAME),
    ("grpc.default_authority", SERVER_NAME),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 2000),
]
_SERVER_OPTIONS = [
    *_SIZES,
    *_KEEPALIVE,
    ("grpc.so_reuseport", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
]


@dataclass(frozen=True)
class TransportSettings:
    """``me``: this member's index; ``addresses``: host:port by member index, of all others."""

    genesis: Genesis
    me: int
    listen: str
    addresses: dict[int, str]
    private_key: bytes
    certificate: bytes


class Transport:
    """All links of one node. ``receive(peer, message)`` is called in the event loop, one message after the other;
    while it works nothing further is read, so a flood waits in the sockets."""

    def __init__(self, settings: TransportSettings, receive: Callable[[int, Message], None]) -> None:
        self._settings = settings
        self._receive = receive
        self._faults = FaultLog()
        genesis = settings.genesis
        self._members = {certificate_der(m.tls_certificate): i for i, m in enumerate(genesis.members)}
        if len(self._members) != len(genesis.members):
            raise ConfigError("bad-genesis", "two members have the same TLS certificate")
        self.control = LinkControl(genesis.members[settings.me].name)
        self._incoming: dict[int, asyncio.Task[object]] = {}
        self._outgoing = {peer: _Outgoing(settings, peer, address) for peer, address in settings.addresses.items()}
        self._server = grpc.aio.server(options=_SERVER_OPTIONS)
        handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_unary_rpc_method_handler(self._link)
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("watt.peer.v1.Peer", {"Link": handler}),)
        )

    async def start(self) -> None:
        """Listen and begin to connect. Raises ConfigError("port-in-use")."""
        settings = self._settings
        members = [member.tls_certificate for member in settings.genesis.members]
        credentials = server_credentials(settings.private_key, settings.certificate, members)
        bind(lambda: self._server.add_secure_port(settings.listen, credentials), settings.listen)
        await self._server.start()
        for outgoing in self._outgoing.values():
            outgoing.start()

    async def stop(self) -> None:
        """Close every link, for good."""
        await asyncio.gather(*(outgoing.stop() for outgoing in self._outgoing.values()))
        await self._server.stop(grace=None)

    def send(self, to: int, message: Message) -> None:
        """Queue a message for a member, or for EVERYONE else. Never waits."""
        frame, gossip = encode_message(message), is_gossip(message)
        for peer in self._outgoing if to == EVERYONE else (to,):
            outgoing = self._outgoing.get(peer)
            if outgoing is not None and not self.control.loses_to(outgoing.name):
                outgoing.put(frame, gossip)

    def connected(self) -> list[int]:
        """The members that this node's own links have reached."""
        return sorted(peer for peer, outgoing in self._outgoing.items() if outgoing.up)

    def links(self) -> list[LinkState]:
        """How the links with every other member are."""
        return [outgoing.state(peer in self._incoming) for peer, outgoing in self._outgoing.items()]

    async def _link(self, _: object, context: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
        peer = self._owner(context)
        if peer is None or peer == self._settings.me:
            self._faults.note(-1, PeerError("wrong-certificate", f"{context.peer()} is no other member"))
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "wrong-certificate")
        if (older := self._incoming.get(peer)) is not None:
            older.cancel()  # a reconnect came before the old socket was found dead
        task = asyncio.current_task()
        assert task is not None
        self._incoming[peer] = task
        try:
            await self._read(peer, context)
        except PeerError as error:
            self._faults.note(peer, error)
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, error.code)
        finally:
            if self._incoming.get(peer) is task:
                del self._incoming[peer]
        return b""

    async def _read(self, peer: int, context: "grpc.aio.ServicerContext[bytes, bytes]") -> None:
        self._check_hello(peer, await _next_frame(context))
        name = self._settings.genesis.members[peer].name
        while (frame := await _next_frame(context)) is not None:
            try:
                for message in decode_frame(frame):
                    if not isinstance(message, Hello) and not self.control.loses_from(name):
                        self._receive(peer, message)
            except PeerError as error:
                self._faults.note(peer, error)

    def _check_hello(self, peer: int, frame: bytes | None) -> None:
        messages = decode_frame(frame or b"")
        if len(messages) != 1 or not isinstance(messages[0], Hello):
            raise PeerError("malformed", "a link that does not begin with a hello")
        if messages[0].chain != self._settings.genesis.chain:
            raise PeerError("wrong-chain", f"the peer is on chain {messages[0].chain.hex()[:16]}")
        if messages[0].sender != peer:
            raise PeerError("wrong-sender", f"claims to be member {messages[0].sender}")

    def _owner(self, context: "grpc.aio.ServicerContext[bytes, bytes]") -> int | None:
        certificates = context.auth_context().get("x509_pem_cert", ())
        for pem in certificates:
            return self._members.get(certificate_der(bytes(pem).decode("ascii", "replace")))
        return None


class _Outgoing:
    """The link to one peer."""

    def __init__(self, settings: TransportSettings, peer: int, address: str) -> None:
        self._settings = settings
        self._peer = peer
        self._address = address
        self._outbox = Outbox()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._since = time.monotonic()
        self._why = ""
        self.name = settings.genesis.members[peer].name
        self.up = False

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"link to {self._peer}")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def put(self, frame: bytes, gossip: bool) -> None:
        if not self.up and len(self._outbox) >= SEND_QUEUE_MESSAGES_WHILE_DOWN:
            self._outbox.clear()
        self._outbox.put(frame, gossip)
        self._wake.set()

    def state(self, is_heard: bool) -> LinkState:
        """``is_heard``: whether the peer's own link is here."""
        outbox = self._outbox
        waiting = (len(outbox), outbox.size_bytes, outbox.dropped)
        return LinkState(self.name, self._address, self.up, self._since, self._why, is_heard, *waiting)

    async def _run(self) -> None:
        settings = self._settings
        pinned = settings.genesis.members[self._peer].tls_certificate
        credentials = channel_credentials(settings.private_key, settings.certificate, pinned)
        backoff_s = FIRST_BACKOFF_S
        async with grpc.aio.secure_channel(self._address, credentials, options=_CHANNEL_OPTIONS) as channel:
            while True:
                await channel.channel_ready()
                log.info("link-up peer=%s address=%s", self.name, self._address)
                self.up, self._since = True, time.monotonic()
                self._why = await self._write(channel)
                lasted = time.monotonic() - self._since >= LASTING_S
                self.up, self._since = False, time.monotonic()
                self._outbox.clear()
                log.info("link-down peer=%s: %s", self.name, self._why)
                backoff_s = FIRST_BACKOFF_S if lasted else min(2 * backoff_s, LAST_BACKOFF_S)
                await asyncio.sleep(backoff_s)

    async def _write(self, channel: grpc.aio.Channel) -> str:
        """Open the stream and write until it breaks; says why it did."""
        call: grpc.aio.StreamUnaryCall[bytes, bytes] = channel.stream_unary(METHOD)()
        call.add_done_callback(lambda _: self._wake.set())
        try:
            await call.write(encode_hello(Hello(self._settings.genesis.chain, self._settings.me)))
            while not call.done():
                if self._outbox:
                    await call.write(self._outbox.take())
                else:
                    self._wake.clear()
                    await self._wake.wait()
            await call
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            return str(await call.details()) if call.done() else "the stream ended"
        finally:
            call.cancel()
        return "closed by the peer"


class FaultLog:
    """Logs what peers do wrong: at most a line a second for each, with how many were left out."""

    def __init__(self) -> None:
        self._last: dict[int, float] = {}
        self._left_out: dict[int, int] = {}

    def note(self, peer: int, error: PeerError) -> None:
        """``peer``: member index, or -1 for a stranger."""
        now = time.monotonic()
        if now - self._last.get(peer, -1.0) < 1:
            self._left_out[peer] = self._left_out.get(peer, 0) + 1
            return
        self._last[peer] = now
        log.warning("peer-error peer=%d code=%s left-out=%d: %s", peer, error.code, self._left_out.pop(peer, 0), error)


async def _next_frame(context: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes | None:
    frame: object = await context.read()
    return frame if isinstance(frame, bytes) else None  # None at the end of the stream


def bind(add_port: Callable[[], int], address: str) -> None:
    """Bind a server's port. Raises ConfigError("port-in-use"): somebody else has it, or it is not ours to have."""
    try:
        bound = add_port()
    except RuntimeError as error:
        raise ConfigError("port-in-use", f"cannot listen on {address}") from error
    if bound == 0:
        raise ConfigError("port-in-use", f"cannot listen on {address}")
