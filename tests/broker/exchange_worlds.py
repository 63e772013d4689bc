"""Small worlds for tests of the exchange, and a real ledger behind the same calls."""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from broker.data.homes import Homes, load_homes
from broker.exchange import Answer, Call
from broker.local_exchange import LocalExchange, Transaction
from broker.site import Site, Vehicle
from broker.world import SecretKeys, Windows, World, known_keys, street
from chaincode.contract import Event, Value
from chaincode.registry import default_registry
from chaincode.settlement_messages import reading_message
from node.executor import Executor
from node.ledger import blinding
from node.ledger.chain import Ledger
from node.ledger.execution import Execution
from node.ledger.store import MemoryStore
from node.model.block import Batch, encode_batch
from node.model.codec import sha256
from node.model.genesis import Genesis, Member, Token
from node.model.transaction import sign_transaction
from tests.ledger.chains import MEMBERS, certify

FOREVER = 2**40
WORK = "street/pole-a1"
"""A bus at which a vehicle is by day."""

_year: list[Homes] = []


def some_homes(homes: int, days: int, first: datetime.date = datetime.date(2017, 5, 1)) -> Homes:
    """Real homes for some days; the data are read once."""
    if not _year:
        _year.append(load_homes())
    return _year[0].between(first, days).only(homes)


def with_vehicle(site: Site) -> Site:
    """The same site with a car that can give back."""
    device = f"{site.network}/ev"
    return replace(
        site,
        vehicle=Vehicle(device, "bev", 40_000, 7_000, 7_000, 900, 160, 4_000),
        import_w={**site.import_w, device: 7_000},
        export_w={**site.export_w, device: 7_000},
    )


def make_world(homes: Homes, budgets: Mapping[str, int], windows: Windows) -> tuple[World, SecretKeys]:
    """A street of these homes; the first one has a car."""
    sites = [home.site(home.name, homes.slot_seconds) for home in homes.homes]
    sites[0] = with_vehicle(sites[0])
    names = [site.network for site in sites]
    secret = known_keys(names)
    seconds = homes.slot_seconds
    world = World(
        tuple(sites),
        street(names),
        secret.public,
        homes.first_slot,
        seconds,
        homes.retail,
        homes.feed_in,
        budgets,
        windows,
    )
    return world, secret


class LedgerExchange:
    """The exchange on a real ledger: signed transactions, blocks, certificates, roots. Every block is also executed by
    the exchange in one process, and the two are compared: what became of every call, every event, the calendar."""

    def __init__(self, world: World, secret: SecretKeys) -> None:
        members = tuple(Member(f"member-{i}", key.public_key.hex(), "") for i, key in enumerate(MEMBERS))
        token = Token("WATT", 9, 1_000_000)
        self.genesis = Genesis(1, "same", token, members, 0, world.time_origin, 1, world.settings())
        self.ledger = Ledger.open(MemoryStore(), self.genesis, default_registry())
        self.executor = Executor(self.ledger, default_registry(), self.genesis)
        self.local = LocalExchange(world.settings(), world.time_origin, self.genesis.chain)
        self._keys = secret.by_public
        self._meters = secret.meters
        self._nonces: dict[bytes, int] = {}
        self._now = world.time_origin
        self._events = list(self.ledger.events(0))
        self.all_events: list[Event] = []

    @property
    def now(self) -> int:
        return self._now

    def submit(self, calls: Sequence[Call]) -> list[Answer]:
        return self._block(self._now, calls)

    def advance(self, time: int) -> list[Event]:
        while (due := self.executor.next_event()) is not None and due <= time:
            assert self.local.next_event() == due
            self._block(due, ())
        assert (self.local.next_event() or FOREVER) > time
        self._now = max(self._now, time)
        events, self._events = self._events, []
        assert self.local.advance(time) == events
        self.all_events += events
        return events

    def query(self, contract: str, method: str, args: Mapping[str, Any]) -> Value:
        answer = self.executor.query(contract, method, args)
        assert self.local.query(contract, method, args) == answer
        return answer

    def signed_reading(
        self, site: Site, device: str, slot: int, energy: tuple[int, int], registers: tuple[int, int]
    ) -> Any:
        """A row for ``settlement.collect`` that the ledger takes."""
        message = reading_message(self.genesis.chain, device, slot, energy, registers)
        return device, slot, *energy, *registers, self._meters[site.network].sign(message)

    def states(self) -> tuple[dict[bytes, Value], dict[bytes, Value]]:
        """Every entry of both states but the nonces, of which one process needs none."""
        tables = {key[: key.find(b"/") + 1] for key in self.local.entries}
        real = {}
        for table in tables:
            for key, value in self.ledger.state.scan(table, table[:-1] + b"0"):
                real[key] = value
        return real, dict(self.local.entries)

    def _block(self, time: int, calls: Sequence[Call]) -> list[Answer]:
        signed = []
        for call in calls:
            nonce = self._nonces[call.key] = self._nonces.get(call.key, 0) + 1
            key = self._keys[call.key]
            signed.append(
                sign_transaction(key, self.genesis.chain, nonce, call.contract, call.method, dict(call.args), FOREVER)
            )
        batch = Batch(self.genesis.chain, 0, 0, max(time, self.ledger.head.time), tuple([tx.raw for tx in signed]))
        blind = blinding.read(self.ledger.state.get(blinding.BLIND))
        execution = self.executor.execute(self.ledger.head.height + 1, encode_batch(batch))
        executed = _in_order(execution, calls)
        self.ledger.commit(execution, certify(execution))
        answers = self.local.block(time, [transaction for transaction, _ in executed], blind)
        assert answers == [answer for _, answer in executed]
        self._events += execution.events
        return [Answer(receipt.code, receipt.result) for receipt in execution.receipts]


def _in_order(execution: Execution, calls: Sequence[Call]) -> list[tuple[Transaction, Answer]]:
    """The transactions as the ledger ran them, and what became of each."""
    parent = execution.block.header.parent_hash
    rows = zip(execution.transactions, execution.receipts, calls, strict=True)
    ordered = sorted(rows, key=lambda row: (sha256(parent, row[0].payload.sender), row[0].payload.nonce))
    return [(Transaction(tx.id, call), Answer(receipt.code, receipt.result)) for tx, receipt, call in ordered]
