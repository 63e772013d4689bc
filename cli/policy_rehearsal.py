"""A billing period once more under another policy: the ledger's own budget rules on a state in memory.

What every device cost and earned in every slot is what settlement booked. Each slot is settled when it was, since what
a device can spare depends on how much of the period is left: what devices earned is credited, then all that they cost
is charged together: own tokens, other devices, the pool, owed.
Allocation is at the start, by the policy's rule, or as it was if the policy leaves it to the owner: then whoever got
more than the pool has so far gets the rest as the pool earns.

Simpler than what happened: an order's money is not set aside before its slot is settled, so no order is refused; other
networks neither help nor are helped, what came from them is there from the start.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from chaincode import (
    accounts,
    budget_alerts,
    budget_allocation,
    budget_charge,
    budget_policy,
    budget_share,
    budget_state,
    slots,
)
from chaincode.apportion import apportion
from chaincode.budget import Budget, Charge
from chaincode.budget_policy import BY_HAND, Policy, Row
from chaincode.contract import Context, ContractError
from chaincode.grid import Grid
from chaincode.identity import Identity
from node.ledger.state import WorldState
from node.ledger.store import MemoryStore
from node.model.keys import verify

_STEPS: Final = 2**40
_PERIOD: Final = 1
"""The number of the period in the state in memory: the one before it is there for what was used in it."""
_BUS: Final = "bus"
_MEMBER: Final = "member"
_ROOT: Final = "root"
_SHARES: Final = 500


class Flow(NamedTuple):
    """What settlement booked for a device in a slot: ``cost`` and ``earned`` in base units, ``import_wh`` metered."""

    device: str
    cost: int
    earned: int
    import_wh: int


class Facts(NamedTuple):
    """What is known of a period that is over. ``devices``: (id, kind, critical); ``settings``: the fields of
    ``budget_state.Settings``; ``funds``: what came into the pool from outside but earnings, less
    what the owner gave away, base units;
    ``allocated`` (by the owner, and left with them), ``forecast``, ``used_before``: by device, the last of the period
    before; ``flows``: (slot, the time at which it was settled, what was booked), ascending.
    """

    network: str
    devices: tuple[tuple[str, str, bool], ...]
    first: int
    end: int
    slot_seconds: int
    settings: tuple[int, ...]
    funds: int
    allocated: Mapping[str, int]
    forecast: Mapping[str, int]
    used_before: Mapping[str, int]
    flows: tuple[tuple[int, int, tuple[Flow, ...]], ...]


class Fate(NamedTuple):
    """What becomes of a device. ``out``: the first slot that its own tokens did not cover, None if they always did;
    ``state``: at the end; ``helpers``: (who gave, "" for the pool, how much), the largest first; ``gave``: to others.
    """

    allocated: int
    spent: int
    out: int | None
    helpers: tuple[tuple[str, int], ...]
    gave: int
    owed: int
    left: int
    state: str


class Rehearsal(NamedTuple):
    """``refused``: the code with which the ledger would have refused to allocate by the policy's rule, None if it would
    not; ``fates``: by device; ``pool``: what the pool has left; ``owed``: by all.
    """

    refused: str | None
    fates: dict[str, Fate]
    pool: int
    owed: int


def rehearse(facts: Facts, policy: Policy, rows: Sequence[Row]) -> Rehearsal:
    """The period of ``facts`` under a policy, which the ledger would take. Raises ContractError."""
    scratch = _Scratch(facts)
    refused = scratch.begin(policy, rows)
    for slot, settled, flows in facts.flows:
        scratch.settle(slot, settled, flows)
    return scratch.outcome(refused)


class _Scratch:
    """The network alone, on a state in memory."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._length = facts.end - facts.first
        self._state = WorldState(MemoryStore()).overlay()
        self._out: dict[str, int] = {}
        self._targets: dict[str, int] = {}
        self._calls = 0
        self._begin, self._end = facts.first * facts.slot_seconds, facts.end * facts.slot_seconds
        with self._at(self._begin) as ctx:
            slots.configure(ctx, facts.slot_seconds)
            settings = _genesis(facts)
            for contract in (Grid(), Identity(), Budget()):
                contract.genesis(ctx, settings[contract.name])
            for device, used in facts.used_before.items():
                if used:
                    budget_alerts.note_use(ctx, device, self._length - 1, used, 0)
            for device, forecast in facts.forecast.items():
                budget_alerts.set_forecast(ctx, device, _PERIOD, forecast)
            if facts.funds:
                accounts.mint(ctx, self._pool, facts.funds, "issue", b"")

    @property
    def _pool(self) -> str:
        return f"pool:{self._facts.network}:{_PERIOD}"

    def begin(self, policy: Policy, rows: Sequence[Row]) -> str | None:
        """Let the policy be in force, and allocate by it. The code with which the rule's allocation is refused."""
        with self._at(self._begin) as ctx:
            budget_policy.replace(ctx, self._facts.network, policy, rows)
        if policy.allocation == BY_HAND:
            self._targets = dict(self._facts.allocated)
            self._bring_up(self._begin)
            return None
        try:
            with self._at(self._begin) as ctx:
                while budget_allocation.by_policy(ctx, self._facts.network, _PERIOD):
                    pass  # so many devices at a time
        except ContractError as error:
            return error.code
        return None

    def settle(self, slot: int, settled: int, flows: Sequence[Flow]) -> None:
        """A slot, at block time ``settled``."""
        source = f"escrow:{slot}"
        with self._at(settled) as ctx:
            for device, _, earned, _ in flows:
                if earned:
                    accounts.mint(ctx, source, earned, "sold", b"")
                    budget_charge.credit(ctx, device, _PERIOD, earned, source, "sold", ctx.tx_id)
        if self._targets:
            self._bring_up(settled)
        with self._at(settled) as ctx:
            charges = [Charge(flow.device, flow.cost) for flow in flows if flow.cost]
            for device, cost in charges:
                if accounts.device_book(ctx, device, _PERIOD).available < cost:
                    self._out.setdefault(device, slot)
            if charges:
                to = accounts.UTILITY, "retail", ctx.tx_id
                budget_charge.charge_all(ctx, self._facts.network, _PERIOD, charges, *to)
            for flow in flows:
                budget_alerts.note_use(
                    ctx, flow.device, slot - self._facts.first + self._length, flow.cost, flow.import_wh
                )

    def outcome(self, refused: str | None) -> Rehearsal:
        """What has become of everybody."""
        with self._at(self._end) as ctx:
            helpers = self._helpers(ctx)
            total, claims = budget_state.owed_of(ctx, self._facts.network)
            fates = {}
            for device, *_ in self._facts.devices:
                book = accounts.device_book(ctx, device, _PERIOD)
                owed = sum([claim.amount for claim in claims if claim.device == device])
                by = sorted(helpers.get(device, {}).items(), key=lambda each: (-each[1], each[0]))
                fates[device] = Fate(
                    book.allocated,
                    book.spent,
                    self._out.get(device),
                    tuple(by),
                    book.lent,
                    owed,
                    book.available,
                    budget_state.state_of(ctx, device, _PERIOD),
                )
            return Rehearsal(refused, fates, accounts.balance(ctx, self._pool), total)

    def _helpers(self, ctx: Context) -> dict[str, dict[str, int]]:
        """Who gave how much to whom."""
        found: dict[str, dict[str, int]] = {}
        first = 0
        while True:
            page = budget_share.shares_of(ctx, self._facts.network, _PERIOD, first, _SHARES)
            for share in page:
                by = found.setdefault(share.receiver, {})
                by[share.giver] = by.get(share.giver, 0) + share.amount - share.returned
            first += len(page)
            if len(page) < _SHARES:
                return found

    def _bring_up(self, time: int) -> None:
        """Allocate what devices lack of what they were given, as far as the pool and their limits go."""
        with self._at(time) as ctx:
            lacking = {}
            for device, target in self._targets.items():
                room = budget_policy.room_of(ctx, device, _PERIOD)
                lack = target - accounts.device_book(ctx, device, _PERIOD).allocated
                lacking[device] = max(0, lack if room is None else min(lack, room))
            whole, pool = sum(lacking.values()), accounts.balance(ctx, self._pool)
            if not whole or not pool:
                return
            parts = list(lacking.values()) if whole <= pool else apportion(pool, list(lacking.values()), list(lacking))
            amounts = tuple((device, part) for device, part in zip(lacking, parts, strict=True) if part)
            budget_allocation.allocate(ctx, self._facts.network, _PERIOD, amounts)

    @contextmanager
    def _at(self, block_time: int) -> Iterator[Context]:
        """A context at that time; what is written in it is kept, or undone if it raises."""
        self._calls += 1
        time = block_time - self._begin + self._length * self._facts.slot_seconds
        ctx = Context(
            self._state,
            chain=bytes(32),
            height=self._calls,
            time=time,
            previous_time=time,
            sender=b"",
            tx_id=self._calls.to_bytes(32, "big"),
            step_limit=_STEPS,
            verifier=verify,
        )
        ctx.contract = "budget"
        self._state.begin()
        try:
            yield ctx
        except BaseException:
            self._state.undo()
            raise
        self._state.keep()


def _genesis(facts: Facts) -> dict[str, dict[str, Any]]:
    """A consortium of this network alone; nobody signs anything in it."""
    key = (bytes(31) + b"\1").hex()
    devices = tuple(
        (device, facts.network, kind, key, key, None, 0, 0, critical, False) for device, kind, critical in facts.devices
    )
    settings = budget_state.Settings(*facts.settings)._replace(period_slots=facts.end - facts.first)
    return {
        "grid": {"root": _ROOT, "lines": ((_ROOT, _BUS, 0, 0, None, None),)},
        "identity": {
            "members": ((_MEMBER, key, ("utility",)),),
            "networks": ((facts.network, _MEMBER, key, _BUS),),
            "devices": devices,
        },
        "budget": settings._asdict(),
    }
