"""The gateways that a client may ask: which one now, and what becomes of a call when it does not answer.

A call goes to the node that answered last. If that one is silent, the next is asked, once around: "unreachable" if
none answers. What a node refuses is the answer; only "not now" is asked again, when the node says.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final, TypeAlias, TypeVar

import grpc.aio

from node.errors import RefusedError
from node.gateway.codes import UNREACHABLE, UNTRUSTED, NotNowError, error_from
from node.gateway.gate import Gate
from node.gateway.patience import COME_AGAIN, Patience
from node.limits import UNCOMPRESSED
from node.model.keys import Signer
from protos import gateway_pb2_grpc as pb_grpc

T = TypeVar("T")
Call: TypeAlias = Callable[["pb_grpc.GatewayAsyncStub"], Awaitable[T]]
"""What to ask of whichever node it is."""

CALL_TIMEOUT_S: Final = 10.0
MAX_PORT: Final = 65_535
CONNECT_MS: Final = 2_000
"""So long a node may take to say its first word: some round trips of a satellite, or a moment in which it is busy."""
MAX_REPLY_BYTES: Final = 64 * 1024 * 1024
"""A node that sends more at once is not read to the end; no honest answer comes near it."""
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", MAX_REPLY_BYTES),
    ("grpc.max_send_message_length", -1),
    UNCOMPRESSED,
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", CONNECT_MS),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.use_local_subchannel_pool", 1),
)
_SILENT: Final = {UNREACHABLE: "does not answer", "stopping": "is stopping", "not-a-member": "is no member now"}
"""What people read of a node that cannot be asked, instead of gRPC's words."""


class Target(Gate):
    """One of them."""

    async def stub(self) -> "pb_grpc.GatewayAsyncStub":
        """Its calls, over the channel to use now. Raises RefusedError as ``Gate.channel`` does."""
        return pb_grpc.GatewayStub(await self.channel())

    async def asked(self, call: Call[T]) -> T:
        """What a call brings. If it finds another certificate than the one looked at, nothing was said yet: that may be
        a renewed one, so it is looked at, and the call made again. Raises RefusedError."""
        try:
            return await call(await self.stub())
        except grpc.aio.AioRpcError as failure:
            if (error := self.failed(failure)).code != UNTRUSTED:
                raise error from failure
        try:
            return await call(await self.stub())
        except grpc.aio.AioRpcError as failure:
            raise self.failed(failure) from failure

    def failed(self, failure: grpc.aio.AioRpcError) -> RefusedError:
        """The refusal that it stands for."""
        error = error_from(failure)
        if error.code in (UNREACHABLE, UNTRUSTED):
            self.doubt()
        return error


class Nodes:
    """The nodes at ``addresses``, in the order in which to try them. ``reader``, ``roots``, ``chain``: see ``Gate``."""

    def __init__(
        self, addresses: Sequence[str], reader: Signer | None, roots: bytes | None, chain: bytes | None
    ) -> None:
        self._targets = [Target(address, _OPTIONS, reader, chain, roots) for address in addresses]
        self._current = 0

    @property
    def addresses(self) -> tuple[str, ...]:
        """All of them."""
        return tuple(target.address for target in self._targets)

    @property
    def current(self) -> Target:
        """The one that answered last, or the one to be asked first."""
        return self._targets[self._current]

    def turn_away(self) -> None:
        """Ask the next one first from now on."""
        self._current = (self._current + 1) % len(self._targets)

    async def close(self) -> None:
        """Close all connections."""
        for target in self._targets:
            await target.close()

    async def ask_in_turn(
        self, call: Call[T], failures: list[str] | None = None, patience: Patience | None = None
    ) -> T:
        """``ask``, and again when the node says: it gives nobody all of its time, nor all of its room. ``patience``:
        what is left for the request, if this is a part of one."""
        patience = patience or Patience(CALL_TIMEOUT_S)
        while True:
            try:
                return await self.ask(call, failures)
            except NotNowError as error:
                if error.code not in COME_AGAIN:
                    raise
                await patience.wait(error)

    async def ask(self, call: Call[T], failures: list[str] | None = None) -> T:
        """One call, at the first node that answers; ``failures`` collects what those said that did not."""
        failures = [] if failures is None else failures
        start, absent, foreign = self._current, None, False
        for offset in range(len(self._targets)):
            index = (start + offset) % len(self._targets)
            target = self._targets[index]
            try:
                reply = await target.asked(call)
            except RefusedError as error:
                if error.code == "below-base":  # it began later than this block: another may have it
                    absent = error
                elif error.code == UNTRUSTED:
                    foreign = True
                elif error.code not in _SILENT:
                    self._current = index
                    raise
                failures.append(f"{target.address} {words_of(error)}")
            else:
                self._current = index
                return reply
        raise absent or RefusedError(UNTRUSTED if foreign else UNREACHABLE, "; ".join(failures))


def words_of(error: RefusedError) -> str:
    """What people read of a node that could not be asked."""
    if error.code == UNREACHABLE and "failed to connect" in error.message and "Socket closed" in error.message:
        return "closes every connection: if it is behind TLS, --ca names the file of who vouches for it"
    return _SILENT.get(error.code, error.message)


def addresses_in(texts: Iterable[str]) -> list[str]:
    """The addresses HOST:PORT in ``texts``, each of which may hold several between spaces.

    Raises RefusedError("bad-address") for one that is none, or if there is none at all.
    """
    addresses = [address for text in texts for address in text.split()]
    if not addresses:
        raise RefusedError("bad-address", "no gateway address is given")
    for address in addresses:
        host, _, port = address.rpartition(":")
        if not host or not (port.isascii() and port.isdecimal() and len(port) <= 5 and 0 < int(port) <= MAX_PORT):
            raise RefusedError("bad-address", f"{address[:80]!r} is not HOST:PORT with a port from 1 to {MAX_PORT}")
    return addresses
