"""An auditor of budgets who stands outside: every bucket again, from nothing but what the blocks have told.

    auditor = Auditor(network_of, member_of)
    auditor.read(events, slot)                # of one block, or of one call; ``slot``: the one under way then
    auditor.check(ctx)                        # the ledger's books are his, to the last base unit

He knows who belongs to whom, and the names of accounts and reasons as docs/budgets.md states them; he shares no code
with the contracts. From the events ``transfer`` he has every balance and counter of every device, network and company
in every period, from ``budget-state`` who is stopped, from ``shared`` and ``policy-set`` whether shares keep to the
rules: floors, no circles, nobody who has received gives in the same slot, a reason and a rule for each.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Any, Final, NamedTuple, cast

import networkx as nx

from chaincode.contract import Context, Event

BY_OWNERS: Final = ("by-hand", "grant")
"""Why a share is none of the automatic ones."""
OF_DEVICE: Final = (
    "available", "reserved", "allocated", "earned", "spent", "lent", "borrowed", "stopped", "received_slot",
    "withdrawn",
)  # fmt: skip
OF_POOL: Final = (
    "pool", "issued", "allocated", "earned", "spent", "withdrawn", "received", "sent", "sold", "returned", "redeemed",
    "carried_in", "carried_out",
)  # fmt: skip
CAME: Final = ("carried_in", "issued", "received", "earned")
WENT: Final = ("spent", "sent", "sold", "returned", "redeemed", "carried_out")

Of = tuple[str, str, int]
"""Kind of a book (device, pool, company), its owner and period."""


class Account(NamedTuple):
    """``number``: the period or slot; ``owner``: empty outside the world of budgets."""

    kind: str
    owner: str
    number: int

    @property
    def book(self) -> Of:
        """Available and reserved are one book."""
        return ("device" if self.kind == "reserved" else self.kind, self.owner, self.number)

    @property
    def balance(self) -> str:
        """The name of what it holds."""
        return {"device": "available", "reserved": "reserved"}.get(self.kind, "pool")


class Share(NamedTuple):
    """As told: a device, network or company as ``giver``."""

    giver: str
    receiver: str
    period: int
    amount: int
    why: str
    rule: str


def account_of(name: str) -> Account:
    """The parts of an account's name."""
    parts = name.split(":")
    if len(parts) == 3:
        return Account(parts[0], parts[1], int(parts[2]))
    return Account(parts[0], "", int(parts[1]) if len(parts) == 2 else 0)


class Auditor:
    """``network_of``: device -> network; ``member_of``: network -> company."""

    def __init__(self, network_of: Mapping[str, str], member_of: Mapping[str, str]) -> None:
        self.network_of = network_of
        self.member_of = member_of
        self.books: dict[Of, dict[str, int]] = {}
        self.outside: dict[str, int] = defaultdict(int)
        self.issued = self.redeemed = 0
        self.given: dict[tuple[str, str], int] = defaultdict(int)  # (from, to): what pools gave each other, net
        self.shares: list[Share] = []
        self.state_of: dict[tuple[str, int], str] = {}
        self.floor_of: dict[str, int] = {}
        self.pool_floor_of: dict[str, int] = {}
        self.carry_cap_of: dict[str, int] = {}
        self._helpers: dict[str, set[int]] = defaultdict(set)  # agreements by which others share with a network
        self._moved: tuple[Account, Account, int] | None = None
        self._before: tuple[Account, Account, int] | None = None
        self._slot = -1
        self._helped: dict[tuple[str, int], list[str]] = {}  # automatic shares of the slot under way
        self._networks_helped: set[str] = set()

    def book(self, of: Of) -> dict[str, int]:
        """A book of his; all zeros at first."""
        if of not in self.books:
            self.books[of] = dict.fromkeys(OF_DEVICE if of[0] == "device" else OF_POOL, 0)
            if of[0] == "device":
                self.books[of]["received_slot"] = -1
        return self.books[of]

    def read(self, events: Iterable[Event], slot: int) -> None:
        """Enter what was told while ``slot`` was under way, in order."""
        if slot != self._slot:
            self._slot = slot
            self._helped.clear()
            self._networks_helped.clear()
        told = list(events)
        for event, following in zip_longest(told, told[1:]):
            data: Any = event.data
            if event.topic == "transfer":
                self._transfer(*data)
                if data[3] == "share" and data[1].startswith("device:"):
                    self._why(data[0], data[1], data[2], following)
            elif event.topic == "shared":
                self._shared(event.keys, *data)
            elif event.topic == "budget-state":
                period, state = data
                self.state_of[event.keys[0], period] = state
                self.book(("device", event.keys[0], period))["stopped"] = int(state in ("limited", "grace"))
            elif event.topic == "policy-set":
                self._policy(event.keys[0], *data)
            elif event.topic == "agreement" and data[1] == "share":
                numbers = self._helpers[event.keys[1]]
                (numbers.add if data[2] == "open" else numbers.discard)(data[0])

    def _policy(self, network: str, terms: tuple[Any, ...], rows: tuple[tuple[Any, ...], ...]) -> None:
        self.pool_floor_of[network], self.carry_cap_of[network] = terms[2:4]
        for device, owner in self.network_of.items():
            if owner == network:
                self.floor_of.pop(device, None)
        for row in rows:
            self.floor_of[row[0]] = row[2]

    def _transfer(self, source: str, target: str, amount: int, reason: str, _: bytes) -> None:
        assert amount > 0, "nothing moves"
        taken, put = account_of(source), account_of(target)
        self._take(taken, amount)
        self._put(put, amount)
        self._count(taken, put, amount, reason)
        self._before, self._moved = self._moved, (taken, put, amount)

    def _take(self, source: Account, amount: int) -> None:
        if source.kind == "issued":
            self.issued += amount
        elif source.owner:
            book = self.book(source.book)
            book[source.balance] -= amount
            assert book[source.balance] >= 0, f"{source} is below zero"
        else:
            self.outside[_name(source)] -= amount
            assert self.outside[_name(source)] >= 0, f"{source} is below zero"

    def _put(self, target: Account, amount: int) -> None:
        if target.kind == "redeemed":
            self.redeemed += amount
        elif target.owner:
            self.book(target.book)[target.balance] += amount
        else:
            self.outside[_name(target)] += amount

    def _count(self, source: Account, target: Account, amount: int, reason: str) -> None:
        """What the books say went by, beside the balances."""
        if source.owner and target.owner:
            return self._count_inside(source, target, amount, reason)
        if source.owner:
            went = "redeemed" if target.kind == "redeemed" else "spent"
            if target.kind == "utility" and reason == "return" and source.kind in ("pool", "company"):
                went = "returned"
            assert source.kind != "company" or went != "spent", "a company spends nothing"
            assert went == "spent" or source.kind in ("pool", "company")
            self.book(source.book)[went] += amount
        elif target.owner:
            came = "issued" if source.kind == "issued" else "earned"
            assert target.kind == "pool" or (target.kind, came) in (("device", "earned"), ("company", "issued"))
            self.book(target.book)[came] += amount

    def _count_inside(self, source: Account, target: Account, amount: int, reason: str) -> None:
        gives, gets = self.book(source.book), self.book(target.book)
        kinds = source.kind, target.kind
        if source.book == target.book:
            assert kinds in (("device", "reserved"), ("reserved", "device")) and reason in ("hold", "release")
        elif kinds == ("device", "device"):
            self._same_network(source, self.network_of[target.owner], target.number)
            gives["lent"] += amount
            gets["borrowed"] += amount
            gets["received_slot"] = max(gets["received_slot"], self._slot)
        elif kinds == ("reserved", "device"):
            self._same_network(source, self.network_of[target.owner], target.number)
            assert reason == "give-back"
            gives["borrowed"] -= amount
            gets["lent"] -= amount
            assert gives["borrowed"] >= 0 and gets["lent"] >= 0, "more given back than shared"
        elif kinds == ("device", "pool"):
            self._same_network(source, target.owner, target.number)
            gives["withdrawn"] += amount
            gets["withdrawn"] += amount
        elif kinds == ("pool", "device"):
            self._same_network(target, source.owner, source.number)
            gives["allocated"] += amount
            gets["allocated"] += amount
        elif kinds == ("reserved", "pool"):
            assert reason == "give-back"
            self._ungiven(source, target, amount)
        else:
            self._given(source, target, amount, reason)

    def _why(self, source: str, target: str, amount: int, following: Event | None) -> None:
        """A device has been helped: whoever gives by itself keeps to the rules. Its share is told of next, or just has
        been: what other networks bring is entered first.
        """
        giver, receiver = account_of(source), account_of(target)
        before, self._before = self._before, None
        row = following.data if following is not None and following.topic == "shared" else None
        why = cast("tuple[Any, ...]", row)[3] if row is not None else self.shares[-1].why
        book = self.book(giver.book)
        if giver.kind == "pool":
            gets = self.book(receiver.book)
            gets["received_slot"] = max(gets["received_slot"], self._slot)
        if why in BY_OWNERS:
            return
        if giver.kind == "device":
            assert book["available"] >= self.floor_of.get(giver.owner, 0), f"{giver.owner} is below its floor"
            assert book["received_slot"] < self._slot, f"{giver.owner} gives what it has just received"
            self._helped.setdefault((giver.owner, giver.number), []).append(receiver.owner)
        elif before is not None and before[0].kind == "pool" and before[1:] == (giver, amount):
            helper = before[0].owner
            assert self.book(before[0].book)["pool"] >= self.pool_floor_of.get(helper, 0), "a helper is below its floor"
            assert helper not in self._networks_helped, f"{helper} gives in the slot in which it was helped"
            self._networks_helped.add(giver.owner)
        else:
            low = book["pool"] < self.pool_floor_of.get(giver.owner, 0)
            assert not low or self._helpers[giver.owner], "the pool is below its floor, and nobody comes after it"

    def _same_network(self, device: Account, network: str, period: int) -> None:
        assert self.network_of[device.owner] == network, f"{device.owner} is no device of {network}"
        assert device.number == period, "from one period to another"

    def _given(self, source: Account, target: Account, amount: int, reason: str) -> None:
        """From a pool or company to another."""
        sent, received = {
            "share": ("sent", "received"),
            "sale": ("sold", "received"),
            "carry": ("carried_out", "carried_in"),
        }[reason]
        if reason == "carry":
            assert source[:2] == target[:2] and source.number < target.number
        if "company" in (source.kind, target.kind) and source[:2] != target[:2]:
            company, other = (source, target) if source.kind == "company" else (target, source)
            assert self.member_of[other.owner] == company.owner, "a company gives its own networks, and they it"
        self.book(source.book)[sent] += amount
        self.book(target.book)[received] += amount
        if reason == "carry":
            cap = self.carry_cap_of.get(target.owner) if target.kind == "pool" else None
            assert cap is None or self.book(target.book)["carried_in"] <= cap, f"{target} is above its carry-over"
        else:
            self.given[_name(source), _name(target)] += amount

    def _ungiven(self, device: Account, giver: Account, amount: int) -> None:
        """What a share from a pool did not use goes back; what was given and allocated is undone."""
        own = Account("pool", self.network_of[device.owner], device.number)
        self.book(device.book)["allocated"] -= amount
        self.book(own)["allocated"] -= amount
        if giver != own:
            self.book(own)["received"] -= amount
            self.book(giver)["sent"] -= amount
            self.given[_name(giver), _name(own)] -= amount
            assert self.given[_name(giver), _name(own)] >= 0, "more given back than given"

    def _shared(self, keys: tuple[str, ...], period: int, amount: int, _: bytes, why: str, rule: str) -> None:
        assert why and rule, "a share without a reason"
        giver, receiver = keys
        self.shares.append(Share(giver, receiver, period, amount, why, rule))

    def check(self, ctx: Context) -> None:
        """The ledger says what he says, and what he says adds up."""
        self._compare(ctx)
        self._conserved()
        for period in dict.fromkeys(period for _, period in self._helped):
            edges = [(a, b) for (a, of), taken in self._helped.items() if of == period for b in taken]
            assert nx.is_directed_acyclic_graph(nx.DiGraph(edges)), f"shares go round: {edges}"

    def check_shares(self, network: str, period: int, records: Sequence[Any]) -> None:
        """The ledger's records of a network's shares are those told, and what they come to is what the books count."""
        told = [
            share
            for share in self.shares
            if self.network_of.get(share.receiver, share.receiver) == network and share.period == period
        ]
        rows = [(row.receiver or network, row.amount, row.why, row.rule) for row in records]
        assert rows == [(share.receiver, share.amount, share.why, share.rule) for share in told]
        for device in [device for device, owner in self.network_of.items() if owner == network]:
            book = self.book(("device", device, period))
            assert book["lent"] == sum(row.amount - row.returned for row in records if row.giver == device)
            of_devices = [row for row in records if row.receiver == device and row.giver in self.network_of]
            assert book["borrowed"] == sum(row.amount - row.returned for row in of_devices)
        for row in records:
            assert 0 <= row.returned <= row.amount and row.why and row.rule

    def check_agreed(self, agreed: Mapping[tuple[str, str], int]) -> None:
        """What pools gave each other is what their agreements say; by (giver with its period, taker without)."""
        told: dict[tuple[str, str], int] = defaultdict(int)
        for (giver, taker), amount in self.given.items():
            if giver.startswith("pool:") and taker.startswith("pool:"):
                told[giver, taker.rpartition(":")[0]] += amount
        assert {of: amount for of, amount in told.items() if amount} == {
            of: used for of, used in agreed.items() if used
        }

    def _compare(self, ctx: Context) -> None:
        told = {of: book for of, book in self.books.items() if any(_amounts(book))}
        tables = (("device", OF_DEVICE), ("pool", OF_POOL), ("company", OF_POOL))
        kept: dict[Of, dict[str, int]] = {}
        for kind, fields in tables:
            prefix = {"device": b"acc-device/", "pool": b"acc-network/", "company": b"acc-company/"}[kind]
            for key, value in ctx.scan(prefix):
                owner, period = key[len(prefix) : -5].decode(), int.from_bytes(key[-4:], "big")
                held = cast("tuple[int, ...]", value)
                if kind == "device":  # the last field says how much of what is reserved others have a claim on
                    *_, claimed = held
                    assert 0 <= claimed <= held[1] and len(held) == len(fields) + 1, (owner, held)
                row = dict(zip(fields, held, strict=kind != "device"))
                if any(_amounts(row)):
                    kept[kind, owner, period] = row
        assert kept.keys() == told.keys(), kept.keys() ^ told.keys()
        for of, row in kept.items():
            assert row == told[of], f"{of}: {row}, told were {told[of]}"
        found = {f"escrow:{int.from_bytes(key[11:], 'big')}": held for key, held in ctx.scan(b"acc-escrow/") if held}
        found |= {key[10:].decode(): held for key, held in ctx.scan(b"acc-named/") if held}
        assert found == {name: held for name, held in self.outside.items() if held}
        assert (ctx.get(b"acc-supply/") or (0, 0)) == (self.issued, self.redeemed)

    def _conserved(self) -> None:
        """Supply; each device; each pool and company; each network with its devices."""
        whole = sum(self.outside.values())
        inside: dict[Of, int] = defaultdict(int)
        for (kind, owner, period), book in self.books.items():
            assert min(amount for name, amount in book.items() if name != "received_slot") >= 0, (owner, book)
            if kind == "device":
                has = book["available"] + book["reserved"]
                came = book["allocated"] + book["earned"] + book["borrowed"]
                assert came == has + book["spent"] + book["lent"] + book["withdrawn"], (owner, period, book)
                of = "pool", self.network_of[owner], period
                inside[of] += has + book["spent"] - book["earned"]
            else:
                has = book["pool"]
                came = sum(book[name] for name in CAME) + book["withdrawn"]
                assert came == has + sum(book[name] for name in WENT) + book["allocated"], (owner, period, book)
            whole += has
        assert whole == self.issued - self.redeemed, "tokens are lost or made"
        for of, devices in inside.items():
            book = self.book(of)
            came, went = sum(book[name] for name in CAME), sum(book[name] for name in WENT)
            assert came == book["pool"] + devices + went, f"{of}: {came} came"
        pools = [book for (kind, _, _), book in self.books.items() if kind != "device"]
        assert sum(book["sent"] + book["sold"] for book in pools) == sum(book["received"] for book in pools)


def _name(account: Account) -> str:
    if account.owner:
        return f"{account.kind}:{account.owner}:{account.number}"
    return f"escrow:{account.number}" if account.kind == "escrow" else account.kind


def _amounts(book: Mapping[str, int]) -> list[int]:
    return [amount for name, amount in book.items() if name != "received_slot"]
