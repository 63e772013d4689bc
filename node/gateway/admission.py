"""Who may hand in how much at this gateway, in transactions and bytes a second, and who has to wait how long.

Whom a transaction is charged to depends on what is known of it. Before its signature is checked, only of the connection
that brought it: whoever it claims to be from pays nothing for a forgery. Once it is in the pool, its sender and their
member pay as well. Those who have used up what they have are refused before the check, which is what is scarce.

What has come in at other gateways is charged when a block brings it: a share is that of all gateways together. Whoever
has used up its share is given some at once when enough of it is there again, not one by one: each block costs all
others their time, however little is in it.

To refuse a transaction costs too, decoding it and looking up whose it is: refusals are counted against the connection
that brings them, a lack of room a little, a bad signature dearly. Until a connection has shown good signatures, few of
its are checked at a time, one request after the other; one bad signature, and it begins anew.
"""

import asyncio
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from node.config import Limits
from node.errors import RefusedError
from node.gateway.codes import NotNowError
from node.gateway.pace import Pace, Tarpit, retry_ms_of
from node.limits import (
    BAD_SIGNATURE_FAULTS,
    CALLS_BURST,
    CALLS_PER_SECOND,
    FAULTS_BURST,
    FAULTS_PER_SECOND,
    LUMP_SECONDS,
    LUMP_UNITS,
    MAX_BULK_TRANSACTIONS,
    MEMBER_BURST_SECONDS,
    PACED_CONNECTIONS,
    PACED_SENDERS,
    SENDER_BURST_SECONDS,
    TRANSACTIONS_BURST,
    TRANSACTIONS_PER_SECOND,
    UNPROVEN_SIGNATURES,
)
from node.mempool import Mempool
from node.model.transaction import Transaction

BYTES_OF_A_UNIT: Final = 4096
ITEMS_OF_A_UNIT: Final = 4
BYTES_OF_A_FAULT: Final = 512
DRAIN_WINDOW_S: Final = 0.5
NO_ROOM_FAULTS: Final = 0.1
RETRY_S: Final = (0.05, 5.0)
"""Within which bounds a client is told to wait for room in the pool."""


def units(tx: Transaction) -> int:
    """What a transaction counts for: one, or as many as it has 4 KiB or four items, if that is more. An order of a list
    takes a third of the time that one by itself takes, and a list is in blocks as a whole."""
    return max(1, len(tx.raw) // BYTES_OF_A_UNIT, tx.items // ITEMS_OF_A_UNIT)


def _lump(per_second: float) -> float:
    return min(LUMP_UNITS, LUMP_SECONDS * per_second)


class _Connection:
    """``proven``: how many signatures are checked at a time; ``lock``: held while they are, until it is trusted."""

    __slots__ = ("lock", "proven")

    def __init__(self) -> None:
        self.proven = UNPROVEN_SIGNATURES
        self.lock = asyncio.Lock()


class Admission:
    """The accounts of one gateway. ``limits``: the operator's, for senders and members."""

    def __init__(self, pool: Mempool, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._pool = pool
        sender, member = limits.sender_transactions_per_second, limits.member_transactions_per_second
        self._calls: Pace[str] = Pace(CALLS_PER_SECOND, CALLS_BURST, PACED_CONNECTIONS, clock)
        self._brought: Pace[str] = Pace(TRANSACTIONS_PER_SECOND, TRANSACTIONS_BURST, PACED_CONNECTIONS, clock)
        self._faults: Pace[str] = Pace(FAULTS_PER_SECOND, FAULTS_BURST, PACED_CONNECTIONS, clock)
        self._forged: Pace[str] = Pace(FAULTS_PER_SECOND, FAULTS_BURST, PACED_CONNECTIONS, clock)
        self._sender_burst, self._member_burst = sender * SENDER_BURST_SECONDS, member * MEMBER_BURST_SECONDS
        self._senders: Pace[bytes] = Pace(sender, self._sender_burst, PACED_SENDERS, clock, _lump(sender))
        self._members: Pace[str] = Pace(member, self._member_burst, PACED_SENDERS, clock, _lump(member))
        self._charged: dict[bytes, None] = {}
        """Ids of transactions that were charged when they came in here, and are in no block yet."""
        self._connections: OrderedDict[str, _Connection] = OrderedDict()
        self._tarpit = Tarpit()
        self._clock = clock
        self._drained = (clock(), pool.gone)
        self._drain_per_s = 0.0
        self.refused: Counter[tuple[str, str]] = Counter()
        """(member that the sender belongs to, code) to how many transactions since the start."""

    def delay_s(self, peer: str) -> float:
        """How long a connection has to wait until anything that it brings is looked at."""
        return max(self._brought.delay_s(peer), self._faults.delay_s(peer))

    def fault_delay_s(self, peer: str) -> float:
        """How long it has to wait for what was refused alone."""
        return self._faults.delay_s(peer)

    def forged_delay_s(self, peer: str) -> float:
        """How long it has to wait for bad signatures alone."""
        return self._forged.delay_s(peer)

    def bring(self, peer: str, raws: Sequence[bytes]) -> None:
        """A connection brings transactions: charged to it, whatever they are; none at all like one that is refused."""
        if not raws:
            self._faults.spend(peer, 1)
        self._brought.spend(peer, max(len(raws), sum(map(len, raws)) >> 10))

    async def turn(self, peer: str) -> None:
        """Wait until what a connection brings over a stream is looked at; of several streams, one after the other."""
        while delay_s := self.delay_s(peer):
            await asyncio.sleep(delay_s)

    def refuse(self, peer: str, refusals: Iterable[tuple[bytes, RefusedError]]) -> None:
        """What a connection brought was refused before signatures were checked: each with why. To have read a long one
        costs more than a short one."""
        faults = 0.0
        for raw, error in refusals:
            faults += NO_ROOM_FAULTS if error.code == "mempool-full" else max(1, len(raw) // BYTES_OF_A_FAULT)
        self._faults.spend(peer, faults)

    async def enter(self, peer: str) -> None:
        """A call with transactions begins, and is not read yet. Raises NotNowError("too-fast"), after a while."""
        delay_s = max(self.delay_s(peer), self._calls.delay_s(peer))
        if not delay_s:
            self._calls.spend(peer, 1)
            return
        await self._tarpit.hold(delay_s)
        delay_s = max(self.delay_s(peer), self._calls.delay_s(peer))
        text = "this connection has brought more than its share, or too much that was refused"
        raise NotNowError("too-fast", text, retry_ms_of(delay_s))

    def within_share(
        self, transactions: Sequence[Transaction], claimed: Counter[bytes | str]
    ) -> list[NotNowError | None]:
        """Of transactions that are not charged yet: which would be beyond the share of their sender or member.

        They are counted together with what is ``claimed`` by those before them in the request, and added to it.
        """
        answers: list[NotNowError | None] = []
        for tx in transactions:
            sender, member = tx.payload.sender, self._member(tx)
            of_sender = self._senders.delay_s(sender, claimed[sender])
            of_member = self._members.delay_s(member, claimed[member])
            if of_sender or of_member:
                slow = "sender" if of_sender >= of_member else "member"
                retry_ms = retry_ms_of(max(of_sender, of_member, RETRY_S[0]))
                answers.append(NotNowError("too-fast", f"this {slow} has handed in more than its share", retry_ms))
            else:
                claimed[sender] += units(tx)
                claimed[member] += units(tx)
                answers.append(None)
        return answers

    def charge(self, tx: Transaction) -> None:
        """A transaction is signed rightly and in the pool: its sender and its member pay for it."""
        self._senders.spend(tx.payload.sender, units(tx))
        self._members.spend(self._member(tx), units(tx))
        self._charged[tx.id] = None
        if len(self._charged) > self._pool.max_transactions:
            del self._charged[next(iter(self._charged))]

    def committed(self, transactions: Iterable[Transaction]) -> None:
        """A block is stored: what came in elsewhere counts here, too. Nobody is in debt for more than it can save up,
        as by the blocks that a node which was away fetches at once."""
        senders: Counter[bytes] = Counter()
        members: Counter[str] = Counter()
        for tx in transactions:
            if tx.id in self._charged:
                del self._charged[tx.id]
            else:
                senders[tx.payload.sender] += units(tx)
        for sender, count in senders.items():
            self._senders.spend_to(sender, count, -self._sender_burst)
            members[self._pool.member_of(sender) or ""] += count
        for member, count in members.items():
            self._members.spend_to(member, count, -self._member_burst)

    def trusts(self, peer: str) -> bool:
        """Whether a connection has shown so many good signatures that no more heed is paid."""
        return self._connection(peer).proven >= MAX_BULK_TRANSACTIONS

    def knows(self, peer: str) -> bool:
        """Whether a connection has shown good signatures, and no bad one since."""
        return self._connection(peer).proven > UNPROVEN_SIGNATURES

    def lock(self, peer: str) -> asyncio.Lock:
        """Held while signatures of a connection are checked that is not trusted."""
        return self._connection(peer).lock

    def proven(self, peer: str) -> int:
        """How many signatures of a connection are checked before the next ones are looked at."""
        return self._connection(peer).proven

    def checked(self, peer: str, answers: Sequence[bool]) -> None:
        """What came of checking signatures that a connection brought."""
        connection = self._connection(peer)
        bad = answers.count(False)
        if bad:
            self._faults.spend(peer, bad * BAD_SIGNATURE_FAULTS)
            self._forged.spend(peer, bad * BAD_SIGNATURE_FAULTS)
            connection.proven = UNPROVEN_SIGNATURES
        else:
            connection.proven = min(MAX_BULK_TRANSACTIONS, connection.proven + len(answers))

    def no_room(self, ahead: int) -> int:
        """How long to wait, ms, until so many have left the pool, as fast as they leave it now."""
        now = self._clock()
        since, gone = self._drained
        if now - since >= DRAIN_WINDOW_S:
            self._drain_per_s = (self._pool.gone - gone) / (now - since)
            self._drained = (now, self._pool.gone)
        wait_s = ahead / self._drain_per_s if self._drain_per_s else RETRY_S[1] / 5
        return retry_ms_of(min(RETRY_S[1], max(RETRY_S[0], wait_s)))

    def note(self, tx: Transaction | None, code: str) -> None:
        """A transaction was refused; None if not even its sender is known."""
        member = "" if tx is None else self._pool.member_of(tx.payload.sender)
        self.refused[member or "", code] += 1

    def _member(self, tx: Transaction) -> str:
        return self._pool.member_of(tx.payload.sender) or ""

    def _connection(self, peer: str) -> _Connection:
        connection = self._connections.get(peer)
        if connection is None:
            connection = self._connections[peer] = _Connection()
            if len(self._connections) > PACED_CONNECTIONS:
                self._connections.popitem(last=False)
        self._connections.move_to_end(peer)
        return connection
