"""The links to and from the other members, over mutual TLS, by the members' names.

Outgoing (``outgoing.py``): one task a peer keeps one stream open and writes what waits in the peer's outbox, joined.
Sending only appends to outboxes, so a slow or dead peer delays nobody.

Incoming: the TLS certificate says which member sends; the hello must agree. Whatever else a peer sends that is not
well-formed is logged with its code and dropped. A certificate has one incoming link; a newer one replaces it.

Members come and go, and change their certificates, while this runs (``admit``, ``identify``): TLS asks for the pins at
every handshake, and links of those who are not admitted any more are cut.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import grpc
import grpc.aio

from node.consensus.messages import Message
from node.errors import ConfigError, PeerError
from node.limits import HANDSHAKE_MS
from node.transport.linkcontrol import LinkControl, LinkState
from node.transport.outgoing import KEEPALIVE, METHOD, SIZES, Outgoing
from node.transport.peer import Peer
from node.transport.tls import FOREVER, ServerCertificate, TlsIdentity, certificate_der, last_day
from node.transport.wire import Hello, decode_frame, encode_message, is_gossip

__all__ = ["METHOD", "FaultLog", "Peer", "Transport", "TransportSettings", "bind"]

log = logging.getLogger("watt.peers")

_STRANGER = "-"
_SERVER_OPTIONS = [
    *SIZES,
    *KEEPALIVE,
    ("grpc.so_reuseport", 0),
    ("grpc.server_handshake_timeout_ms", HANDSHAKE_MS),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
]


@dataclass(frozen=True)
class TransportSettings:
    """``me``: this member's name; ``listen``: host:port."""

    chain: bytes
    me: str
    listen: str


class Transport:
    """All links of one node. ``receive(peer, message)``, with the peer's name, is called in the event loop, one message
    after the other; while it works nothing further is read, so a flood waits in the sockets."""

    def __init__(
        self,
        settings: TransportSettings,
        identity: TlsIdentity,
        peers: Sequence[Peer],
        receive: Callable[[str, Message], None],
    ) -> None:
        self._settings = settings
        self._identity = identity
        self._receive = receive
        self._faults = FaultLog()
        self.control = LinkControl(settings.me)
        self._started = False
        self._owners: dict[bytes, str] = {}
        """Whose certificate it is, by its DER."""
        self._incoming: dict[bytes, asyncio.Task[object]] = {}
        self._outgoing: dict[str, Outgoing] = {}
        self._stopping: set[asyncio.Task[None]] = set()
        self._certificate = ServerCertificate(identity)
        self.admit(peers)
        self._server = grpc.aio.server(options=_SERVER_OPTIONS)
        handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_unary_rpc_method_handler(self._link)
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("watt.peer.v1.Peer", {"Link": handler}),)
        )

    async def start(self) -> None:
        """Listen and begin to connect. Raises ConfigError("port-in-use")."""
        listen = self._settings.listen
        bind(lambda: self._server.add_secure_port(listen, self._certificate.credentials()), listen)
        await self._server.start()
        self._started = True
        for outgoing in self._outgoing.values():
            outgoing.start()

    async def stop(self) -> None:
        """Close every link, for good."""
        self._started = False
        await asyncio.gather(*(outgoing.stop() for outgoing in self._outgoing.values()), *self._stopping)
        await self._server.stop(grace=None)

    def admit(self, peers: Sequence[Peer]) -> None:
        """From now on there are links to and from these peers, and no others; a certificate that two of them have is
        the first one's. Raises ConfigError("bad-certificate")."""
        owners: dict[bytes, str] = {}
        for peer in peers:
            for pem in peer.certificates:
                der = certificate_der(pem)
                if owners.setdefault(der, peer.name) != peer.name:
                    log.error("certificate-shared peer=%s: it is that of `%s`", peer.name, owners[der])
                elif der not in self._owners:
                    _warn_of_end(peer.name, der)
        self._owners = owners
        self._certificate.pin([pem for peer in peers for pem in peer.certificates])
        for der in [der for der in self._incoming if der not in owners]:
            self._incoming.pop(der).cancel()
        linked = {peer.name: peer for peer in peers if peer.address}
        for name in [name for name in self._outgoing if name not in linked]:
            self._drop(name)
        for name, peer in linked.items():
            if (outgoing := self._outgoing.get(name)) is not None:
                outgoing.change(self._identity, peer)
                continue
            self._outgoing[name] = outgoing = Outgoing(self._settings.chain, self._settings.me, self._identity, peer)
            if self._started:
                outgoing.start()

    def identify(self, identity: TlsIdentity) -> None:
        """From now on this node shows another certificate, on new links."""
        self._identity = identity
        self._certificate.identify(identity)
        for outgoing in self._outgoing.values():
            outgoing.change(identity, outgoing.peer)

    def send(self, to: Sequence[str], message: Message) -> None:
        """Queue a message for the members of these names. Never waits."""
        frame, gossip = encode_message(message), is_gossip(message)
        for name in to:
            outgoing = self._outgoing.get(name)
            if outgoing is not None and not self.control.loses_to(name):
                outgoing.put(frame, gossip)

    def connected(self) -> list[str]:
        """The names of the members that this node's own links have reached."""
        return sorted(name for name, outgoing in self._outgoing.items() if outgoing.up)

    @property
    def bad_frames(self) -> Mapping[tuple[str, str], int]:
        """(peer, code) to how much on its links was not well-formed, or not theirs to say, since the start."""
        return self._faults.counts

    def links(self) -> list[LinkState]:
        """How the links with every other member are."""
        heard = {self._owners[der] for der in self._incoming}
        return [outgoing.state(name in heard) for name, outgoing in self._outgoing.items()]

    def _drop(self, name: str) -> None:
        outgoing = self._outgoing.pop(name)
        if self._started:
            task = asyncio.get_running_loop().create_task(outgoing.stop())
            self._stopping.add(task)
            task.add_done_callback(self._stopping.discard)

    async def _link(self, _: object, context: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
        der = _shown(context)
        peer = self._owners.get(der)
        if peer is None:
            self._faults.note(_STRANGER, PeerError("wrong-certificate", f"{context.peer()} is no other member"))
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "wrong-certificate")
        if (older := self._incoming.get(der)) is not None:
            older.cancel()  # a reconnect came before the old socket was found dead
        task = asyncio.current_task()
        assert task is not None
        self._incoming[der] = task
        try:
            await self._read(peer, context)
        except PeerError as error:
            self._faults.note(peer, error)
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, error.code)
        except asyncio.CancelledError:
            if self._started and der not in self._owners:  # gRPC tells the other end of a cancelled call nothing
                await context.abort(grpc.StatusCode.UNAUTHENTICATED, "wrong-certificate")
            raise
        finally:
            if self._incoming.get(der) is task:
                del self._incoming[der]
        return b""

    async def _read(self, peer: str, context: "grpc.aio.ServicerContext[bytes, bytes]") -> None:
        self._check_hello(peer, await _next_frame(context))
        while (frame := await _next_frame(context)) is not None:
            try:
                for message in decode_frame(frame):
                    if not isinstance(message, Hello) and not self.control.loses_from(peer):
                        self._receive(peer, message)
            except PeerError as error:
                self._faults.note(peer, error)

    def _check_hello(self, peer: str, frame: bytes | None) -> None:
        messages = decode_frame(frame or b"")
        if len(messages) != 1 or not isinstance(messages[0], Hello):
            raise PeerError("malformed", "a link that does not begin with a hello")
        if messages[0].chain != self._settings.chain:
            raise PeerError("wrong-chain", f"the peer is on chain {messages[0].chain.hex()[:16]}")
        if messages[0].sender != peer:
            raise PeerError("wrong-sender", f"claims to be `{messages[0].sender}`")


class FaultLog:
    """Logs what peers do wrong: at most a line a second for each, with how many were left out."""

    def __init__(self) -> None:
        self._last: dict[str, float] = {}
        self._left_out: dict[str, int] = {}
        self.counts: Counter[tuple[str, str]] = Counter()

    def note(self, peer: str, error: PeerError) -> None:
        """``peer``: a member's name, or "-" for a stranger."""
        self.counts[peer, error.code] += 1
        now = time.monotonic()
        if now - self._last.get(peer, -1.0) < 1:
            self._left_out[peer] = self._left_out.get(peer, 0) + 1
            return
        self._last[peer] = now
        log.warning("peer-error peer=%s code=%s left-out=%d: %s", peer, error.code, self._left_out.pop(peer, 0), error)


def _warn_of_end(peer: str, der: bytes) -> None:
    """Ours have no end; whoever brought one of their own must know when nobody links to them any more."""
    day = last_day(der)
    if day is None:
        log.error("certificate-unusable peer=%s: nothing that TLS could check", peer)
    elif day < FOREVER:
        log.warning("certificate-ends peer=%s on=%s: there is no link from then on; new keys go in before", peer, day)


def _shown(context: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
    """The certificate that the other end has proven to hold the key of; empty if there is none."""
    for pem in context.auth_context().get("x509_pem_cert", ()):
        return certificate_der(bytes(pem).decode("ascii", "replace"))
    return b""


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
