"""Places at a gateway, for calls and for who follows blocks: who holds them, and who leaves when another needs one.

gRPC begins a call when its head is there; the request may come later, slowly or never. So a call is given a place when
it begins, and keeps it until its answer is taken, but its request has to come in time. An address (of IPv6, a network
of 64 bits) holds no more than twice as many places as are free: alone two thirds, and something is always free for one
who comes. Who comes and finds none takes that of the call whose request is awaited for longest, if it was awaited for a
while already: calls that were only begun keep nobody out.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from node.errors import RefusedError
from node.gateway.codes import RETRY_MS, NotNowError
from node.gateway.pace import address_of
from node.limits import ADDRESS_SHARE_OF_FREE, MAX_CLIENT_CALLS, REQUEST_GRACE_SECONDS, REQUEST_SECONDS


class Shares:
    """So many places in all; who asks holds no more than twice as many as are free."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._held: Counter[str] = Counter()
        self.used = 0

    def of(self, who: str) -> int:
        """How many ``who`` holds."""
        return self._held[who]

    def has_room(self, who: str) -> bool:
        """Whether ``who`` may have one more."""
        return self._held[who] < ADDRESS_SHARE_OF_FREE * (self._total - self.used)

    def take(self, who: str) -> None:
        """``who`` holds one more."""
        self._held[who] += 1
        self.used += 1

    def leave(self, who: str) -> None:
        """``who`` holds one less."""
        self.used -= 1
        self._held[who] -= 1
        if not self._held[who]:
            del self._held[who]


class Place:
    """One call's. ``since``: when it began; ``deadline``: for its request, while that is awaited."""

    __slots__ = ("address", "deadline", "is_held", "since")

    def __init__(self, address: str, since: float) -> None:
        self.address = address
        self.since = since
        self.deadline: asyncio.Timeout | None = None
        self.is_held = True


class Places:
    """All of a gateway. ``total``: how many calls are answered at a time; ``seconds``: for a request to come."""

    def __init__(
        self,
        total: int = MAX_CLIENT_CALLS,
        seconds: float = REQUEST_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._seconds = seconds
        self._clock = clock
        self._shares = Shares(total)
        self._awaited: dict[Place, None] = {}
        """Those whose request is awaited, in the order in which they began."""

    @property
    def used(self) -> int:
        """How many are held."""
        return self._shares.used

    def take(self, peer: str) -> Place:
        """A place for a call over the connection ``peer``, as gRPC names it. Raises NotNowError("busy")."""
        address = address_of(peer)
        if not self._shares.has_room(address):
            self._end_a_slow_one(address)
            if not self._shares.has_room(address):
                text = f"{self.used} calls are being answered, {self._shares.of(address)} of them for this address"
                raise NotNowError("busy", text, RETRY_MS["busy"])
        self._shares.take(address)
        return Place(address, self._clock())

    async def request(self, place: Place, read: Callable[[], Awaitable[Any]]) -> Any:
        """The call's first request, as ``read`` gives it. Raises RefusedError("slow-request") if it does not come in
        time, or is slow while others need the place."""
        try:
            async with asyncio.timeout(self._seconds) as place.deadline:
                self._awaited[place] = None
                try:
                    return await read()
                finally:
                    del self._awaited[place]
        except TimeoutError as error:
            raise RefusedError("slow-request", "the request did not come in time") from error

    def leave(self, place: Place) -> None:
        """The call is over; once more changes nothing."""
        if not place.is_held:
            return
        place.is_held = False
        self._shares.leave(place.address)

    def _end_a_slow_one(self, address: str) -> None:
        """The one that has been awaited for longest, of an address that holds no less than ``address`` does."""
        latest = self._clock() - REQUEST_GRACE_SECONDS
        for place in self._awaited:
            if place.since > latest:
                return
            if place.is_held and self._shares.of(place.address) >= self._shares.of(address):
                assert place.deadline is not None
                if not place.deadline.expired():
                    place.deadline.reschedule(asyncio.get_running_loop().time())
                self.leave(place)
                return
