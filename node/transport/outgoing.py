"""The link to one peer: a task that keeps one stream open, and again after every failure, and writes what waits."""

import asyncio
import contextlib
import logging
import time

import grpc
import grpc.aio

from node.limits import MAX_FRAME_BYTES, SEND_QUEUE_MESSAGES_WHILE_DOWN, UNCOMPRESSED
from node.transport.linkcontrol import LinkState
from node.transport.outbox import Outbox
from node.transport.peer import Peer
from node.transport.tls import SERVER_NAME, TlsIdentity, channel_credentials
from node.transport.wire import Hello, encode_hello

log = logging.getLogger("watt.peers")

METHOD = "/watt.peer.v1.Peer/Link"
FIRST_BACKOFF_S = 0.1
LAST_BACKOFF_S = 2.0
LASTING_S = 5.0
"""A link that held for so long was a good one: the next attempt waits FIRST_BACKOFF_S only."""

KEEPALIVE = [
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
]
SIZES = [
    ("grpc.max_receive_message_length", MAX_FRAME_BYTES),
    ("grpc.max_send_message_length", MAX_FRAME_BYTES),
    UNCOMPRESSED,
]
_CHANNEL_OPTIONS = [
    *SIZES,
    *KEEPALIVE,
    ("grpc.ssl_target_name_override", SERVER_NAME),
    ("grpc.default_authority", SERVER_NAME),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 2000),
]


class Outgoing:
    """The link to ``peer``, whose address is known. Sending only appends to its outbox."""

    def __init__(self, chain: bytes, me: str, identity: TlsIdentity, peer: Peer) -> None:
        self._hello = encode_hello(Hello(chain, me))
        self._identity = identity
        self.peer = peer
        self._outbox = Outbox()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._since = time.monotonic()
        self._why = ""
        self.up = False

    def start(self) -> None:
        """Begin to connect."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"link to {self.peer.name}")

    async def stop(self) -> None:
        """Close the link, for good."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def put(self, frame: bytes, gossip: bool) -> None:
        """Send a frame when the link can take it; never waits."""
        if not self.up and len(self._outbox) >= SEND_QUEUE_MESSAGES_WHILE_DOWN:
            self._outbox.clear()
        self._outbox.put(frame, gossip)
        self._wake.set()

    def state(self, is_heard: bool) -> LinkState:
        """``is_heard``: whether the peer's own link is here."""
        outbox = self._outbox
        waiting = (len(outbox), outbox.size_bytes, outbox.dropped)
        return LinkState(self.peer.name, self.peer.address, self.up, self._since, self._why, is_heard, *waiting)

    def change(self, identity: TlsIdentity, peer: Peer) -> None:
        """The peer or this node has another certificate or address: a link that is up stays, the next one is so."""
        if (identity, peer) == (self._identity, self.peer):
            return
        self._identity, self.peer = identity, peer
        if self._task is not None and not self.up:
            self._task.cancel()  # it may be trying in vain, with what was right before
            self.start()

    async def _run(self) -> None:
        backoff_s = FIRST_BACKOFF_S
        while True:
            peer = self.peer
            credentials = channel_credentials(self._identity, peer.certificates)
            async with grpc.aio.secure_channel(peer.address, credentials, options=_CHANNEL_OPTIONS) as channel:
                await channel.channel_ready()
                log.info("link-up peer=%s address=%s", peer.name, peer.address)
                self.up, self._since = True, time.monotonic()
                self._why = await self._write(channel)
                lasted = time.monotonic() - self._since >= LASTING_S
                self.up, self._since = False, time.monotonic()
                self._outbox.clear()
            log.info("link-down peer=%s: %s", peer.name, self._why)
            backoff_s = FIRST_BACKOFF_S if lasted else min(2 * backoff_s, LAST_BACKOFF_S)
            await asyncio.sleep(backoff_s)

    async def _write(self, channel: grpc.aio.Channel) -> str:
        """Open the stream and write until it breaks; says why it did."""
        call: grpc.aio.StreamUnaryCall[bytes, bytes] = channel.stream_unary(METHOD)()
        call.add_done_callback(lambda _: self._wake.set())
        try:
            await call.write(self._hello)
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
