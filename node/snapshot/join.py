"""A node's data from other nodes: a snapshot if somebody has one, then blocks, up to the head of those who serve them.

Nothing of what they say is believed: see ``fetch.py`` and ``follow.py``, which decide what is asked of whom. Here is
what moves: the calls, the disk, and the order of the parts.
"""

import asyncio
import errno
import itertools
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from chaincode.registry import Registry
from node.epochs import verified_epochs
from node.errors import CodecError, ConfigError, RefusedError, StoreFault
from node.executor import Executor
from node.gateway.codes import UNREACHABLE
from node.gateway.nodes import words_of
from node.ledger.chain import Ledger
from node.ledger.store import LevelStore
from node.limits import MAX_SERVED_BLOCKS, SNAPSHOT_BLOCKS
from node.model.block import decode_header
from node.model.epoch import Boundary, decode_boundary
from node.model.genesis import Genesis
from node.model.keys import Signer, verify
from node.setup import DATABASE_NAME
from node.snapshot.fetch import AskChunk, AskList, Fetch, Listing, Source, Stage, Verdict
from node.snapshot.follow import Follow
from node.snapshot.offer import Target, Trust
from node.snapshot.remote import Remote
from node.snapshot.staging import Staging

ROUNDS = 5
"""After the last block, the sources are asked again how far they are, so many times at most; then the node's own
links do the rest."""
APPLY_S = 0.05
"""For so long blocks are executed before answers are looked at."""
R = TypeVar("R", bound="_Request")
A = TypeVar("A")

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class JoinPlan:
    """``data``: the node's data directory; ``sources``: gateway addresses; ``blocks_only``: take no snapshot;
    ``reader``: the member's key, since blocks and state are not for everybody; ``roots``: certificates (PEM) of those
    who vouch for gateways, None: the gateways are plain."""

    data: Path
    genesis: Genesis
    sources: tuple[str, ...]
    blocks_only: bool = False
    reader: Signer | None = None
    roots: bytes | None = None


class Watcher(Protocol):
    """Who is told how a join goes on."""

    def progress(self, what: str, done: int, total: int) -> None:
        """``what``: "chunks" (fetched), "state" (chunks written into the database) or "blocks" (executed)."""
        ...

    def dropped(self, source: str, verdict: Verdict) -> None:
        """A source is not asked any more."""
        ...


class JoinReport(NamedTuple):
    """``snapshot_height``: 0 if there was none; ``chunks`` and ``blocks``: how many were taken in by this attempt;
    ``dropped``: what was wrong with each source that was dropped; ``seconds``: how long each part took."""

    height: int
    root: bytes
    snapshot_height: int
    chunks: int
    blocks: int
    dropped: Mapping[str, str]
    seconds: Mapping[str, float]


async def join(plan: JoinPlan, registry: Registry, watcher: Watcher) -> JoinReport:
    """Bring a stopped node's data to the head of ``plan.sources``. An attempt that was cut short goes on.

    Raises RefusedError: "unreachable" (no source answers), "no-source" (none is left that can be used), "wrong-genesis"
    (all are of another chain), "disk-full"; ConfigError: "data-ahead" (there is nothing to take over), "db-locked" (in
    use), "db-other-chain", "cannot-write"; DivergenceFault, StoreFault.
    """
    try:
        staging = Staging(plan.data, plan.genesis, registry)
        try:
            return await _Join(plan, registry, watcher, staging).run()
        finally:
            staging.close()
    except OSError as error:
        if error.errno in _FULL:
            raise _full(plan.data, error.strerror or "") from error
        raise ConfigError("cannot-write", f"{plan.data}: {error.strerror}") from error
    except StoreFault as fault:
        if any(os.strerror(number) in fault.message for number in _FULL):
            raise _full(plan.data, fault.message) from fault
        raise


def _full(data: Path, why: str) -> RefusedError:
    return RefusedError("disk-full", f"{data}: {why}; make room and join again: it goes on where it is")


class _Join:
    """One attempt."""

    def __init__(self, plan: JoinPlan, registry: Registry, watcher: Watcher, staging: Staging) -> None:
        self._plan = plan
        self._registry = registry
        self._watcher = watcher
        self._staging = staging
        self._boundaries: dict[str, tuple[Boundary, ...]] = {}
        self._dropped: dict[str, Verdict] = {}
        self._seconds: dict[str, float] = {}
        self._chunks = 0
        self._blocks = 0

    async def run(self) -> JoinReport:
        began = time.monotonic()
        if not self._staging.is_complete:
            plan = self._plan
            async with Remote(plan.reader, plan.genesis.chain, plan.roots) as remote:
                fetch = Fetch(self._plan.sources, self._trust, self._staging, self._staging.preferred)
                ledger = await self._state(remote, fetch)
                await self._to_the_head(remote, ledger, list(fetch.sources.values()))
        self._staging.finish()
        self._seconds["all"] = time.monotonic() - began
        return self._report()

    async def _state(self, remote: Remote, fetch: Fetch) -> Ledger:
        """The ledger to go on from: an earlier attempt's, or the newest snapshot's, or block 0."""
        began = time.monotonic()
        await self._list(remote, fetch, snapshots=not self._plan.blocks_only)
        self._require_news(fetch)
        there = self._staging.opened()
        if there is not None and self._is_worth_keeping(there, fetch.target):
            return there

        def take(request: AskList | AskChunk, data: bytes) -> None:
            assert isinstance(request, AskChunk)
            self._chunks += 1
            fetch.chunk(request, data)
            self._tell(fetch.verdicts)
            self._watcher.progress("chunks", *fetch.progress)

        await _exchange(fetch, remote.chunk, take, lambda: fetch.stage is not Stage.CHUNKS)
        self._tell(fetch.verdicts)
        if not fetch.sources:
            raise self._nobody()
        if fetch.target is None:
            return self._staging.from_genesis()
        self._seconds["chunks"] = time.monotonic() - began
        return self._built(fetch, fetch.target)

    def _is_worth_keeping(self, there: Ledger, target: Target | None) -> bool:
        """Whether to go on from what an earlier attempt has made."""
        if self._plan.blocks_only:
            return there.base == 0
        return target is None or there.head.height + SNAPSHOT_BLOCKS >= target.height

    def _built(self, fetch: Fetch, target: Target) -> Ledger:
        began, written = time.monotonic(), itertools.count(1)
        known = next(self._boundaries[name] for name, each in fetch.sources.items() if target.name in each.offers)
        ledger = self._staging.from_snapshot(
            [each for each in known if decode_header(each.header).height <= target.height],
            lambda: self._watcher.progress("state", next(written), len(target.tops)),
        )
        self._seconds["state"] = time.monotonic() - began
        return ledger

    async def _list(self, remote: Remote, fetch: Fetch, *, snapshots: bool) -> None:
        """Let all sources say what they have; ``snapshots``: whether these are of interest."""

        def take(request: AskList | AskChunk, listing: Listing) -> None:
            assert isinstance(request, AskList)
            fetch.listed(request, listing if snapshots else listing._replace(offers=()))
            self._tell(fetch.verdicts)

        await _exchange(fetch, remote.listing, take, lambda: fetch.stage is not Stage.LISTING)
        self._tell(fetch.verdicts)
        if not fetch.sources:
            raise self._nobody()

    def _trust(self, source: str, listing: Listing) -> Trust:
        genesis = self._plan.genesis
        if listing.chain != genesis.chain:
            why = f"it is of chain {listing.chain.hex()[:16]}, the genesis document makes {genesis.chain.hex()[:16]}"
            raise CodecError("wrong-chain", why)
        boundaries = tuple([decode_boundary(each) for each in listing.boundaries])
        epochs = verified_epochs(genesis, boundaries, verify)
        self._boundaries[source] = boundaries
        return Trust(genesis.chain, epochs, verify)

    def _require_news(self, fetch: Fetch) -> None:
        """Raises ConfigError("data-ahead") if the node has all that could be taken over."""
        newest = max(source.head for source in fetch.sources.values()) if fetch.target is None else fetch.target.height
        old = self._staging.old_height
        if old is not None and old >= newest > 0:
            what = "the newest block of the sources" if fetch.target is None else "their newest snapshot's"
            why = f"{self._plan.data} has block {old} already, {what} is {newest}: run the node, it fetches the rest"
            raise ConfigError("data-ahead", why)

    async def _to_the_head(self, remote: Remote, ledger: Ledger, sources: Sequence[Source]) -> None:
        """Fetch and execute blocks up to the head of the sources, which moves on meanwhile."""
        began, before, genesis = time.monotonic(), ledger.head.height, self._plan.genesis
        executor = Executor(ledger, self._registry, genesis)
        for _ in range(ROUNDS):
            follow = Follow(ledger, executor, lambda: Trust(genesis.chain, ledger.epochs(), verify), sources)
            await _exchange(
                follow, remote.blocks, follow.blocks, partial(_is_done, follow), partial(self._apply, ledger, follow)
            )
            self._tell(follow.verdicts)
            if not follow.is_done or not follow.sources:
                raise self._nobody()
            again = Fetch(list(follow.sources), self._trust, self._staging)
            await self._list(remote, again, snapshots=False)
            sources = list(again.sources.values())
            if max([source.head for source in sources]) <= ledger.head.height + MAX_SERVED_BLOCKS:
                break
        self._blocks = ledger.head.height - before
        self._seconds["blocks"] = time.monotonic() - began

    def _apply(self, ledger: Ledger, follow: Follow) -> bool:
        """Execute blocks for a moment; whether there was one."""
        until, some = time.monotonic() + APPLY_S, False
        while time.monotonic() < until and follow.apply():
            some = True
        self._tell(follow.verdicts)
        if some:
            self._watcher.progress("blocks", ledger.head.height, follow.target)
        return some

    def _tell(self, verdicts: Mapping[str, Verdict]) -> None:
        for source, verdict in verdicts.items():
            if source not in self._dropped:
                is_silent = verdict.code == UNREACHABLE
                words = words_of(RefusedError(verdict.code, verdict.message)) if is_silent else verdict.message
                self._dropped[source] = verdict._replace(message=words)
                self._watcher.dropped(source, self._dropped[source])

    def _nobody(self) -> RefusedError:
        """Why there is nobody left to ask."""
        why = "; ".join(f"{name}: {verdict.code}, {verdict.message}" for name, verdict in self._dropped.items())
        codes = {verdict.code for verdict in self._dropped.values()}
        if codes == {UNREACHABLE}:
            return RefusedError(UNREACHABLE, why)
        if codes == {"wrong-chain"}:
            return RefusedError("wrong-genesis", why)
        return RefusedError("no-source", why or "no node that is left has the next block")

    def _report(self) -> JoinReport:
        store = LevelStore(self._plan.data / DATABASE_NAME, create=False)
        try:
            ledger = Ledger.open(store, self._plan.genesis, self._registry)
            dropped = {name: f"{verdict.code}: {verdict.message}" for name, verdict in self._dropped.items()}
            return JoinReport(
                ledger.head.height,
                ledger.head.state_root,
                ledger.base,
                self._chunks,
                self._blocks,
                dropped,
                {part: round(seconds, 3) for part, seconds in self._seconds.items()},
            )
        finally:
            store.close()


def _is_done(follow: Follow) -> bool:
    return follow.is_done


class _Request(Protocol):
    @property
    def source(self) -> str: ...


class _Core(Protocol[R]):
    """What decides what is asked: ``Fetch`` or ``Follow``."""

    @property
    def sources(self) -> Mapping[str, Source]: ...

    def requests(self) -> Sequence[R]: ...

    def failed(self, request: R, code: str, message: str) -> None: ...


async def _exchange(
    core: _Core[R],
    ask: Callable[[Any], Awaitable[A]],
    take: Callable[[R, A], None],
    is_over: Callable[[], bool],
    work: Callable[[], bool] = lambda: False,
) -> None:
    """Ask what ``core`` wants, and give it the answers, until it is over or there is nobody to ask. ``work``: what is
    done between answers; whether there was something to do."""
    calls: dict[asyncio.Task[A], R] = {}
    try:
        while not is_over():
            for request in core.requests():
                calls[asyncio.create_task(_asked(ask, request))] = request
            busy = work()
            if not calls:
                if busy:
                    continue
                return
            done, _ = await asyncio.wait(calls, timeout=0 if busy else None, return_when=asyncio.FIRST_COMPLETED)
            for call in done:
                request = calls.pop(call)
                if call.cancelled():
                    continue
                try:
                    answer = call.result()
                except RefusedError as error:
                    core.failed(request, error.code, error.message)
                else:
                    take(request, answer)
            for call, request in calls.items():
                if request.source not in core.sources:  # what it says is of no interest any more
                    call.cancel()
    finally:
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)


async def _asked(ask: Callable[[R], Awaitable[A]], request: R) -> A:
    """The question begins with its task: one that is called off before has left nothing behind."""
    return await ask(request)
