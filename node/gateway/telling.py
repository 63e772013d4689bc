"""What a block's events say to whom, each form encoded once.

Who sees everything gets them as they are. Strangers get what is public: events that name no household, and orders and
fills under a pseudonym, without the order's id, for names can be tried. Whoever reads something of its own gets that in
full, in its place among what is public. The results of transactions are in all forms, by digests: these cover the
signature, so that they say nothing to those who do not have the transaction. An id would: payloads can be guessed.

Nothing is said of an event that no contract has declared: what an upgrade brings is kept until it says whose it is.
"""

from collections.abc import Sequence
from typing import NamedTuple

from chaincode import market_products, pseudonyms
from chaincode.contract import Context, Event
from chaincode.events import PUBLIC
from chaincode.subjects import REGISTRY
from node.gateway.access import Access
from node.model.block import Block, digests_in
from node.model.codec import pack, sha256
from node.model.keys import TAG_ORDER_ALIAS
from node.model.receipt import Receipt
from protos import gateway_pb2 as pb

PSEUDONYMOUS = ("order", "fill")
ALIAS_BYTES = 16
_EVENT_TAG = b"\x32"
"""Of a field of BlockEvents: number 6, length-delimited. A message is its fields one after another, in any number of
pieces."""


class Told:
    """One block for subscribers. ``height``: its own."""

    def __init__(self, block: Block, receipts: Sequence[Receipt], events: Sequence[Event]) -> None:
        self.height = block.header.height
        self._block = block
        self._receipts = receipts
        self._events = events
        self._full: bytes | None = None
        self._public: _Public | None = None
        self._readers: _Readers | None = None

    def to(self, reader: bytes, access: Access) -> bytes:
        """The encoded BlockEvents for the key that signed, b"" if none did."""
        if access.sees_all(reader):
            if self._full is None:
                self._full = encode_block_events(self._block, self._receipts, self._events)
            return self._full
        if self._public is None:
            pieces = [b"" if event is None else _piece(event) for event in in_public(self._events, access)]
            head = encode_block_events(self._block, self._receipts, ())
            self._public = _Public(head, pieces, head + b"".join(pieces))
        if not reader:
            return self._public.whole
        if self._readers is None or self._readers.version != access.version:
            self._readers = _Readers(self._events, access)
        own = self._readers.own(reader, access)
        if not own:
            return self._public.whole
        pieces = self._public.pieces.copy()
        for number in own:
            pieces[number] = self._readers.full(number)
        return self._public.head + b"".join(pieces)


class _Public(NamedTuple):
    """What everybody may see of a block: all but its events, the events one by one, b"" for what is not public, and
    these in one."""

    head: bytes
    pieces: list[bytes]
    whole: bytes


class _Readers:
    """Who may read which of a block's events in full. ``version``: of what is known of readers."""

    def __init__(self, events: Sequence[Event], access: Access) -> None:
        self.version = access.version
        self._events = events
        self._full: dict[int, bytes] = {}
        self._registry: list[int] = []
        self._of: dict[bytes, dict[int, int]] = {}
        """By key: the numbers of the events that it may read, each until a block time."""
        topics = access.topics
        for number, event in enumerate(events):
            data = topics.get(event.topic)
            if data is None or data == PUBLIC:
                continue
            if data == REGISTRY:
                self._registry.append(number)
            for name in dict.fromkeys(event.keys):
                for key, until in access.readers(name, data).items():
                    mine = self._of.setdefault(key, {})
                    mine[number] = max(until, mine.get(number, 0))

    def own(self, reader: bytes, access: Access) -> list[int]:
        """The numbers of those that ``reader`` may read."""
        numbers = [number for number, until in self._of.get(reader, {}).items() if until >= access.time]
        if self._registry and access.is_admin(reader):
            numbers += self._registry
        return numbers

    def full(self, number: int) -> bytes:
        """An event as it is."""
        piece = self._full.get(number)
        if piece is None:
            piece = self._full[number] = _piece(self._events[number])
        return piece


def in_public(events: Sequence[Event], access: Access) -> list[Event | None]:
    """For each event what everybody may see of it, None for nothing."""
    ctx, topics = access.context(), access.topics
    secrets: dict[int, tuple[int, bytes]] = {}
    shown: list[Event | None] = []
    for event in events:
        if event.topic in PSEUDONYMOUS and type(event.data) is tuple:
            shown.append(_under_pseudonym(event, event.data, ctx, secrets))
        else:
            shown.append(event if topics.get(event.topic) == PUBLIC else None)
    return shown


def _under_pseudonym(
    event: Event, data: tuple[object, ...], ctx: Context, secrets: dict[int, tuple[int, bytes]]
) -> Event:
    """An order's or a fill's event without names: (alias or b"", state, slot, side, ...) under ("pseudonym",) or ().
    ``secrets``: by slot (period, its secret), as far as they have been looked up."""
    order, state, slot, *rest = data
    assert isinstance(order, bytes) and isinstance(slot, int)
    known = secrets.get(slot)
    if known is None:
        product = market_products.find(ctx, slot)
        known = (0, b"") if product is None else (product.period, pseudonyms.secret_of(ctx, product.period))
        secrets[slot] = known
    period, secret = known
    if not secret:
        return Event(event.contract, event.topic, (), (b"", state, slot, *rest))  # type: ignore[arg-type]
    name = pseudonyms.pseudonym(secret, period, event.keys[0])
    alias = sha256(TAG_ORDER_ALIAS, secret, order)[:ALIAS_BYTES]
    return Event(event.contract, event.topic, (name,), (alias, state, slot, *rest))  # type: ignore[arg-type]


def encode_block_events(of: Block, receipts: Sequence[Receipt], events: Sequence[Event]) -> bytes:
    """The BlockEvents of a block, with these events of it."""
    block = pb.BlockEvents(
        height=of.header.height,
        time=of.header.time,
        hash=of.header.hash,
        transaction_digests=b"".join(digests_in(of.body)),
        failed=[pb.Refusal(index=i, code=receipt.code) for i, receipt in enumerate(receipts) if receipt.code != "ok"],
    )
    add = block.events.add  # messages made where they belong: none is copied
    for event in events:
        add(contract=event.contract, topic=event.topic, keys=event.keys, data=pack(event.data))
    return block.SerializeToString()


def _piece(event: Event) -> bytes:
    """An event as a field of its BlockEvents."""
    encoded = pb.Event(
        contract=event.contract, topic=event.topic, keys=event.keys, data=pack(event.data)
    ).SerializeToString()
    size, digits = len(encoded), bytearray()
    while size > 127:
        digits.append(size & 127 | 128)
        size >>= 7
    return _EVENT_TAG + bytes((*digits, size)) + encoded
