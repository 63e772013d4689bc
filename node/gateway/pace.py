"""How much may be asked for at once: buckets that fill with time and are emptied by use."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from ipaddress import IPv6Network
from typing import Generic, TypeVar
from urllib.parse import unquote

from node.gateway.codes import NotNowError
from node.limits import (
    CONNECTIONS_BURST,
    CONNECTIONS_PER_SECOND,
    PACED_ADDRESSES,
    PACED_CONNECTIONS,
    TARPIT_CALLS,
    TARPIT_SECONDS,
)

Who = TypeVar("Who", bound=Hashable)


class Pace(Generic[Who]):
    """One bucket for each who asks. What is used may overdraw it; then nothing is given until it has filled again.

    ``per_second``: how fast a bucket fills; ``burst``: what a full one holds; ``lump``: what one that was used up has
    to hold before anything is given again, so that it is given at once instead of drop by drop; ``peers``: how many
    are kept, those not used for longest being forgotten.
    """

    def __init__(
        self,
        per_second: float,
        burst: float,
        peers: int,
        clock: Callable[[], float] = time.monotonic,
        lump: float = 0.0,
    ) -> None:
        self._per_second = per_second
        self._burst = burst
        self._peers = peers
        self._clock = clock
        self._lump = lump
        self._buckets: OrderedDict[Who, tuple[float, float, float]] = OrderedDict()
        """What each held, when that was, and until when it gives nothing."""

    def delay_s(self, peer: Who, besides: float = 0.0) -> float:
        """How long the peer has to wait until it is given anything, ``besides`` being used first; 0 if it need not."""
        bucket = self._buckets.get(peer)
        rests_s = 0.0 if bucket is None else bucket[2] - self._clock()
        lacks = besides - self.level(peer)
        return max(0.0, rests_s, (lacks + self._lump) / self._per_second if lacks > 0 else 0.0)

    def spend(self, peer: Who, amount: float) -> None:
        """The peer uses so much."""
        now, level = self._clock(), self.level(peer) - amount
        bucket = self._buckets.get(peer)
        gives_at = now + (self._lump - level) / self._per_second if level < 0 else 0.0 if bucket is None else bucket[2]
        self._buckets[peer] = (level, now, gives_at)
        self._buckets.move_to_end(peer)
        if len(self._buckets) > self._peers:
            self._buckets.popitem(last=False)

    def spend_to(self, peer: Who, amount: float, least: float) -> None:
        """The peer uses so much, or what leaves it ``least``, if that is less."""
        self.spend(peer, max(0.0, min(amount, self.level(peer) - least)))

    def level(self, peer: Who) -> float:
        """What the peer may use at once; below 0 if it has overdrawn."""
        level, at, _ = self._buckets.get(peer, (self._burst, 0.0, 0.0))
        return min(self._burst, level + (self._clock() - at) * self._per_second)

    def __len__(self) -> int:
        return len(self._buckets)


class Tarpit:
    """Holds refusals back for a while, as long as there are not too many: who asks at once again costs less so."""

    def __init__(self) -> None:
        self._held = 0

    async def hold(self, delay_s: float) -> None:
        """Return when the delay is over, or sooner."""
        if self._held < TARPIT_CALLS:
            self._held += 1
            try:
                await asyncio.sleep(min(delay_s, TARPIT_SECONDS))
            finally:
                self._held -= 1


class Connections:
    """Whoever is told to slow down could come back over another connection: an address opens so many a second."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._met: OrderedDict[str, None] = OrderedDict()
        self._pace: Pace[str] = Pace(CONNECTIONS_PER_SECOND, CONNECTIONS_BURST, PACED_ADDRESSES, clock)

    def meet(self, peer: str) -> None:
        """A call comes over the connection ``peer``, as gRPC names it: address and port.

        Raises NotNowError("too-many-connections") if it is new, and its address has opened too many.
        """
        if peer in self._met:
            return
        address = address_of(peer)
        delay_s = self._pace.delay_s(address)
        if delay_s:
            text = f"more than {CONNECTIONS_PER_SECOND} new connections a second from one address"
            raise NotNowError("too-many-connections", text, retry_ms_of(delay_s))
        self._pace.spend(address, 1)
        self._met[peer] = None
        if len(self._met) > PACED_CONNECTIONS:
            self._met.popitem(last=False)


def address_of(peer: str) -> str:
    """The address in gRPC's name of a connection (``ipv4:10.0.0.1:5000``, ``ipv6:%5B::1%5D:5000``); of IPv6 the network
    of 64 bits, since whoever has one of its addresses has them all."""
    address = peer.rpartition(":")[0]
    kind, _, text = unquote(address).partition(":")
    if kind != "ipv6":
        return address
    try:
        return str(IPv6Network((text.strip("[]").partition("%")[0], 64), strict=False))
    except ValueError:
        return address


def retry_ms_of(delay_s: float) -> int:
    """A delay as clients are told it: at least a millisecond, and rounded up, so that it is over when they come."""
    return max(1, int(delay_s * 1000) + 1)
