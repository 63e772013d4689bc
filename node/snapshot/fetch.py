"""How a snapshot is fetched from several nodes at once, none of which is trusted. Without sockets, clocks or files.

``requests`` says what to ask whom; every answer goes into ``listed``, ``chunk`` or ``failed``. First all sources are
asked what they have; the newest certified snapshot is chosen, of those that several have if there are any, since one
source alone could be slow on purpose. Its chunks are asked of all who offer it. What does not check is thrown away, its
source is not asked again, and ``verdicts`` says why. A chunk that was not had from one source is asked of another; when
no source of a snapshot is left, the next one is chosen.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple, Protocol, TypeAlias

from node.errors import CodecError, RefusedError
from node.limits import REQUESTS_PER_SOURCE, REQUESTS_UNDER_WAY, SNAPSHOTS_KEPT
from node.snapshot.chunks import checked_entries
from node.snapshot.offer import Offer, Target, Trust, checked_offer

STRIKES = 3
"""So many requests in a row may come to nothing before a source counts as gone."""

MAX_OFFERS = 2 * SNAPSHOTS_KEPT

TargetName: TypeAlias = tuple[int, bytes, int]


class Listing(NamedTuple):
    """What a source says of itself: its chain, its base, the encoded header and certificate of its head, what proves
    the epochs (encoded ``Boundary``), and the snapshots that it has."""

    chain: bytes
    base: int
    header: bytes
    certificate: bytes
    boundaries: tuple[bytes, ...]
    offers: tuple[Offer, ...]


class AskList(NamedTuple):
    """Ask ``source`` what it has."""

    source: str


class AskChunk(NamedTuple):
    """Ask ``source`` for a chunk of the snapshot of block ``height`` in chunks of ``depth``."""

    source: str
    height: int
    depth: int
    prefix: str


class Verdict(NamedTuple):
    """Why a source is not asked any more. ``lied``: it sent what no correct node sends."""

    code: str
    message: str
    lied: bool


class Stage(Enum):
    """``NOTHING``: no source that is left has a snapshot. ``NO_SOURCE``: no source is left."""

    LISTING = "listing"
    CHUNKS = "chunks"
    COMPLETE = "complete"
    NOTHING = "nothing"
    NO_SOURCE = "no-source"


class Sink(Protocol):
    """Where checked chunks go. Its methods may raise what the disk makes them raise."""

    def begin(self, target: Target) -> set[str]:
        """A snapshot was chosen; the prefixes of its chunks that are there already."""
        ...

    def put(self, prefix: str, data: bytes) -> None:
        """Keep a chunk."""
        ...


@dataclass(slots=True)
class Source:
    """One node. ``head``: the height of its certified head; ``base``: it has no blocks up to that one."""

    name: str
    head: int = 0
    base: int = 0
    offers: dict[TargetName, Target] = field(default_factory=dict)
    under_way: int = 0
    strikes: int = 0
    listed: bool = False


class Fetch:
    """One attempt to get a snapshot.

    ``trust``: what to check the claims of a source (by name) by, from what it says; may raise RefusedError.
    ``preferred``: the name of the snapshot of which an earlier attempt has kept chunks.
    """

    def __init__(
        self,
        sources: Sequence[str],
        trust: Callable[[str, Listing], Trust],
        sink: Sink,
        preferred: TargetName | None = None,
    ) -> None:
        self._trust = trust
        self._sink = sink
        self._preferred = preferred
        self._to_list = deque(dict.fromkeys(sources))
        self._queue: deque[str] = deque()
        self._under_way: set[AskChunk] = set()
        self._left: set[str] = set()
        self.sources = {name: Source(name) for name in sources}
        """Those that are still asked."""
        self.verdicts: dict[str, Verdict] = {}
        """Those that are not, and why."""
        self.stage = Stage.LISTING
        self.target: Target | None = None
        """The snapshot that is being fetched."""

    @property
    def progress(self) -> tuple[int, int]:
        """How many chunks are there, and of how many."""
        total = 0 if self.target is None else len(self.target.tops)
        return total - len(self._left), total

    def requests(self) -> list[AskList | AskChunk]:
        """What to ask now; every one is answered once, by ``listed``, ``chunk`` or ``failed``."""
        asked: list[AskList | AskChunk] = [AskList(name) for name in self._to_list]
        self._to_list.clear()
        while self.stage is Stage.CHUNKS and self._queue and len(self._under_way) < REQUESTS_UNDER_WAY:
            request = self._next()
            if request is None:
                break
            asked.append(request)
        return asked

    def listed(self, request: AskList, listing: Listing) -> None:
        """A source has said what it has."""
        source = self.sources[request.source]
        source.listed = True
        try:
            self._take_listing(source, listing)
        except RefusedError as error:
            self._drop(source, Verdict(error.code, error.message, lied=True))
        self._choose()

    def chunk(self, request: AskChunk, data: bytes) -> None:
        """A source has sent a chunk. Raises what the sink raises."""
        source = self._answered(request)
        if source is None or self.target is None:
            return
        try:
            checked_entries(request.prefix, self.target.tops[request.prefix], data)
        except CodecError as error:
            self._queue.appendleft(request.prefix)
            self._drop(source, Verdict(error.code, error.message, lied=True))
            self._choose()
            return
        self._sink.put(request.prefix, data)
        source.strikes = 0
        self._left.discard(request.prefix)
        if not self._left:
            self.stage = Stage.COMPLETE

    def failed(self, request: AskList | AskChunk, code: str, message: str) -> None:
        """A request came to nothing: nobody answered, or it was refused."""
        if isinstance(request, AskList):
            self._drop(self.sources[request.source], Verdict(code, message, lied=False))
        else:
            source = self._answered(request)
            if source is None or self.target is None:
                return
            self._queue.appendleft(request.prefix)
            source.strikes += 1
            if code == "no-snapshot":  # it has made newer ones meanwhile
                source.offers.pop(self.target.name, None)
            elif source.strikes >= STRIKES:
                self._drop(source, Verdict(code, message, lied=False))
        self._choose()

    def _take_listing(self, source: Source, listing: Listing) -> None:
        trust = self._trust(source.name, listing)
        if listing.certificate:
            source.head = trust.certified(listing.header, listing.certificate)[0].height
        if not 0 <= listing.base <= source.head:
            raise CodecError("malformed", f"it begins at block {listing.base}, and its head is {source.head}")
        source.base = listing.base
        if len(listing.offers) > MAX_OFFERS:
            raise CodecError("malformed", f"it offers {len(listing.offers)} snapshots")
        for offer in listing.offers:
            target = checked_offer(offer, trust)
            source.offers[target.name] = target

    def _answered(self, request: AskChunk) -> Source | None:
        """The source of a request whose answer is still wanted: it was not dropped, nor another snapshot chosen."""
        if request not in self._under_way:
            return None
        self._under_way.discard(request)
        source = self.sources[request.source]
        source.under_way -= 1
        wanted = self.target is not None and request[1:3] == (self.target.height, self.target.depth)
        return source if wanted else None

    def _next(self) -> AskChunk | None:
        """The next chunk, of the source that has least to do; None if all have enough."""
        assert self.target is not None
        name = self.target.name
        free = [s for s in self.sources.values() if name in s.offers and s.under_way < REQUESTS_PER_SOURCE]
        if not free:
            return None
        source = min(free, key=lambda each: (each.strikes, each.under_way))
        request = AskChunk(source.name, self.target.height, self.target.depth, self._queue.popleft())
        self._under_way.add(request)
        source.under_way += 1
        return request

    def _drop(self, source: Source, verdict: Verdict) -> None:
        """Ask a source nothing more; what it was asked for is asked of another."""
        self.verdicts[source.name] = verdict
        for request in [each for each in self._under_way if each.source == source.name]:
            if self._answered(request) is not None:
                self._queue.appendleft(request.prefix)
        del self.sources[source.name]

    def _choose(self) -> None:
        """Once all have answered: the newest snapshot, and the next one when nobody is left who has it."""
        if self.stage is Stage.COMPLETE or not all(source.listed for source in self.sources.values()):
            return
        offers = [target for source in self.sources.values() for target in source.offers.values()]
        if self.target is not None and any(target.name == self.target.name for target in offers):
            return
        self._queue.clear()
        if not offers:
            self.target = None
            self.stage = Stage.NOTHING if self.sources else Stage.NO_SOURCE
            return
        sources = {target.name: sum(target.name in each.offers for each in self.sources.values()) for target in offers}

        def worth(offer: Target) -> tuple[bool, bool, int, int, int]:
            count = sources[offer.name]
            return offer.name == self._preferred, count > 1, offer.height, count, -offer.depth

        self.target = max(offers, key=worth)
        have = self._sink.begin(self.target)
        self._queue.extend([prefix for prefix in self.target.tops if prefix not in have])
        self._left = set(self._queue)
        self.stage = Stage.CHUNKS if self._left else Stage.COMPLETE
