"""Requests: a device asks for tokens, and the owner of who is asked grants them, all or a part, or declines.

A device's key, or its owner, asks for a billing period of the device, and says why. It asks a device of its own
network, its network's pool, or the pool of another network under an agreement to share (``agreements.py``) that is in
force; a path of agreements is none. The owner of the network that is asked answers; between networks of one company
also the member, as with agreements. A request waits until it is answered or the asker takes it back, and has *lapsed*
when its period is over; nobody has to do anything for that.

What is granted is a share like others, for good, with the reason "grant" and the rule "request N": a device's is lent,
a pool's is allocated, another network's is sent, received and allocated. It respects what the devices' limits, the
agreement's cap and the books allow; it does not respect floors, which bind what goes by itself.

At most MAX_WAITING requests of one network wait at one other (or at its own owner), MAX_OF_DEVICE of one device.

State: ``request/`` -> count; ``request/`` number(8) -> Request; ``request-of/`` network NUL: the numbers of
both sides' (``numbered.py``); ``request-open/`` network that is asked NUL network that asks NUL -> those that wait;
``request-open/`` network that is asked NUL -> the networks of which some wait.
"""

from typing import Any, Final, NamedTuple, cast

from chaincode import (
    account_books,
    accounts,
    agreement_book,
    agreements,
    budget_calendar,
    budget_charge,
    budget_policy,
    budget_share,
    budget_state,
    identity,
    keys,
    numbered,
    slots,
)
from chaincode.agreement_book import Movement
from chaincode.budget_share import GRANT, OTHER, POOL, Share
from chaincode.contract import MAX_AMOUNT, Context, Contract, ContractError, Subject, Value, query, transaction
from chaincode.subjects import BUDGET, DEVICE, NETWORK, a_network

WAITING: Final = "waiting"
GRANTED: Final = "granted"
DECLINED: Final = "declined"
WITHDRAWN: Final = "withdrawn"
LAPSED: Final = "lapsed"
"""What a request is called that still waits when its period is over."""

MAX_REASON: Final = 64
MAX_OF_DEVICE: Final = 8
MAX_WAITING: Final = 64
MAX_LISTED: Final = 100

_REQUESTS: Final = b"request/"
_OF: Final = b"request-of/"
_OPEN: Final = b"request-open/"


class Request(NamedTuple):
    """``device`` asks for ``amount`` base units of ``giver`` (as in a share: a device, POOL, or OTHER and a network,
    then under ``agreement``, which is 0 otherwise) for its ``period``. ``slot``: of the last change of ``state``;
    ``granted``: what it got.
    """

    device: str
    giver: str
    agreement: int
    period: int
    amount: int
    reason: str
    asked: int
    state: str
    granted: int
    slot: int


class _Waiting(NamedTuple):
    number: int
    device: str
    period: int


def _of_request(ctx: Context, args: dict[str, Any]) -> tuple[Subject, ...]:
    asked = request_of(ctx, args["request"])
    return Subject(DEVICE, asked.device, BUDGET), *[Subject(NETWORK, side, BUDGET) for side in _sides(ctx, asked)]


class Requests(Contract):
    """Asking for tokens, and answering. Amounts are in base units."""

    name = "requests"
    results = BUDGET

    @transaction
    def ask(
        self, ctx: Context, *, device: str, giver: str, period: int, amount: int, reason: str = "", agreement: int = 0
    ) -> Value:
        """Ask for ``amount`` for ``device``, of ``giver``: another device of its network, "" for its network's pool, or
        "@" and the name of a network under ``agreement``. By the device's key or its owner's. Returns its number.

        Raises ContractError: unknown-device, wrong-key, unknown-period, period-closing, period-over, bad-amount,
        bad-reason, other-network, bad-account (of itself), unknown-agreement, wrong-kind, not-in-force, other-class,
        in-arrears, too-many.
        """
        network = identity.require_asker(ctx, device).network
        budget_state.require_open_period(ctx, network, period)
        if not 0 < amount <= MAX_AMOUNT:
            raise ContractError("bad-amount", "an amount is an integer from 1 to 2^63-1")
        if len(reason.encode()) > MAX_REASON or not reason.isprintable():
            raise ContractError("bad-reason", f"a reason is printable text of at most {MAX_REASON} bytes")
        _require_giver(ctx, network, device, giver, agreement)
        now = slots.current(ctx)
        asked = Request(device, giver, agreement, period, amount, reason, now, WAITING, 0, now)
        number = (cast("int | None", ctx.get(_REQUESTS)) or 0) + 1
        _enlist(ctx, asked, number)
        ctx.put(_REQUESTS, number)
        ctx.put(_key(number), tuple(asked))
        for side in _sides(ctx, asked):
            numbered.append(ctx, keys.key(_OF, side), number)
        _tell(ctx, number, asked)
        return number

    @transaction
    def grant(self, ctx: Context, *, request: int, amount: int) -> Value:
        """Give ``amount`` of what was asked for, at most all; the rest is declined. By the owner of who is asked.

        Raises ContractError: unknown-request, wrong-key, not-waiting, bad-amount, over-limit, insufficient-funds; for
        another network's also wrong-kind, not-in-force, other-class, in-arrears, over-cap, unknown-period,
        period-closing, period-over.
        """
        found = _answered(ctx, request)
        if not 0 < amount <= found.amount:
            raise ContractError("bad-amount", f"from 1 to {found.amount} can be granted", (found.amount,))
        budget_policy.require_within_limit(ctx, found.device, found.period, amount)
        _give(ctx, found, amount, f"request {request}")
        _close(ctx, request, found._replace(state=GRANTED, granted=amount))
        return None

    @transaction
    def decline(self, ctx: Context, *, request: int) -> Value:
        """Give nothing. By the owner of who is asked. Raises ContractError: unknown-request, wrong-key, not-waiting."""
        _close(ctx, request, _answered(ctx, request)._replace(state=DECLINED))
        return None

    @transaction
    def withdraw(self, ctx: Context, *, request: int) -> Value:
        """Take a request back. By the key of the device, or its owner's.

        Raises ContractError: unknown-request, wrong-key, not-waiting.
        """
        found = request_of(ctx, request)
        identity.require_asker(ctx, found.device)
        _require_waiting(ctx, found)
        _close(ctx, request, found._replace(state=WITHDRAWN))
        return None

    @query(of=_of_request)
    def request(self, ctx: Context, *, request: int) -> Value:
        """(number, device, giver, agreement, period, amount, reason, slot in which it was asked, state, what was
        granted, slot of the last change). States: waiting, granted, declined, withdrawn, lapsed.
        """
        return _row(ctx, request)

    @query(of=a_network(BUDGET))
    def of_network(self, ctx: Context, *, network: str, after: int = 0) -> Value:
        """The requests that a network's devices made or that it is asked, with numbers above ``after``, at most 100, as
        ``request`` gives them.
        """
        identity.network_of(ctx, network)
        if after < 0:
            raise ContractError("bad-args", "numbers of requests are above 0")
        numbers = numbered.above(ctx, keys.key(_OF, network), after, MAX_LISTED)
        return tuple([_row(ctx, number) for number in numbers])

    @query(of=a_network(BUDGET))
    def waiting(self, ctx: Context, *, network: str, after: int = 0) -> Value:
        """The requests that wait for an answer of ``network``'s owner, with numbers above ``after``, at most 100, as
        ``request`` gives them.
        """
        identity.network_of(ctx, network)
        numbers: list[int] = []
        for asker in _askers(ctx, network):
            rows = cast("tuple[tuple[int, str, int], ...]", ctx.get(keys.key(_OPEN, network, asker)) or ())
            numbers += [row[0] for row in rows if row[0] > after]
        found = [_row(ctx, number) for number in sorted(numbers)[:MAX_LISTED]]
        return tuple([row for row in found if row[8] == WAITING])


def request_of(ctx: Context, number: int) -> Request:
    """Raises ContractError("unknown-request")."""
    value = ctx.get(_key(number)) if 0 < number <= MAX_AMOUNT else None
    if value is None:
        raise ContractError("unknown-request", f"there is no request {number}")
    return Request(*cast("Request", value))


def state_at(ctx: Context, request: Request) -> str:
    """The state of a request now, LAPSED if it waits for a period that is over."""
    if request.state != WAITING:
        return request.state
    return LAPSED if _is_over(ctx, identity.device_of(ctx, request.device).network, request.period) else WAITING


def _require_giver(ctx: Context, network: str, device: str, giver: str, agreement: int) -> None:
    """A device of ``network`` may ask ``giver``."""
    if giver.startswith(OTHER):
        found = agreements.require_ready(ctx, agreement, agreement_book.SHARE)
        if (found.giver, found.taker) != (giver.removeprefix(OTHER), network):
            raise ContractError("other-network", f"agreement {agreement} is between {found.giver} and {found.taker}")
        return
    if agreement != 0:
        raise ContractError("other-network", "an agreement is with another network")
    if giver == device:
        raise ContractError("bad-account", "a device cannot help itself")
    if giver != POOL:
        budget_policy.require_in_network(ctx, giver, network)


def _sides(ctx: Context, request: Request) -> tuple[str, ...]:
    """The network that asks, and the one that is asked if it is another."""
    own = identity.device_of(ctx, request.device).network
    return (own, request.giver.removeprefix(OTHER)) if request.giver.startswith(OTHER) else (own,)


def _answered(ctx: Context, number: int) -> Request:
    """A request that the sender, who acts for who is asked, answers now."""
    found = request_of(ctx, number)
    if found.giver.startswith(OTHER):
        agreement = agreement_book.agreement_of(ctx, found.agreement)
        agreements.require_side(ctx, agreement, agreement.giver)
    else:
        identity.require_owner(ctx, identity.device_of(ctx, found.device).network)
    _require_waiting(ctx, found)
    return found


def _require_waiting(ctx: Context, request: Request) -> None:
    if state_at(ctx, request) != WAITING:
        raise ContractError("not-waiting", "it has been answered or taken back, or it has lapsed")


def _give(ctx: Context, request: Request, amount: int, rule: str) -> None:
    """Move what is granted, and record it as a share."""
    device, giver, period = request.device, request.giver, request.period
    network = identity.device_of(ctx, device).network
    before = accounts.device_book(ctx, device, period)
    if giver.startswith(OTHER):
        _bring(ctx, request, network, amount, rule)
    elif giver == POOL:
        budget_charge.pay_owed(ctx, network, period, ctx.tx_id)
        budget_share.help_out(ctx, network, device, period, amount, b"", GRANT, rule)
    else:
        lent = accounts.device_book(ctx, giver, period)
        budget_share.require_room(ctx, giver, device, period, amount)
        budget_share.lend(ctx, network, giver, device, period, amount, b"", GRANT, rule)
        budget_state.note_change(ctx, giver, period, lent)
    budget_state.note_change(ctx, device, period, before)


def _bring(ctx: Context, request: Request, network: str, amount: int, rule: str) -> None:
    """What another network grants goes from its pool through the own one to the device: out of the period of the giver
    in which the device's period begins, or the slot under way if it has begun. Not while the own network owes: what
    comes into its pool pays that first, which a share to the pool does.
    """
    number, period = request.agreement, request.period
    found = agreements.require_ready(ctx, number, agreement_book.SHARE)
    if budget_state.debt_of(ctx, network):
        raise ContractError("in-arrears", f"{network} owes the utility, which a share to its pool would pay")
    first, _ = budget_calendar.slots_of(ctx, network, period)
    source = budget_calendar.period_of(ctx, found.giver, max(first, slots.current(ctx)))
    budget_state.require_open_period(ctx, found.giver, source)
    agreements.require_room(ctx, number, source, period, amount)
    pool = f"pool:{network}:{period}"
    accounts.give(ctx, f"pool:{found.giver}:{source}", pool, amount, "share", ctx.tx_id)
    accounts.transfer(ctx, pool, f"device:{request.device}:{period}", amount, "share", ctx.tx_id)
    book = accounts.device_book(ctx, request.device, period)
    account_books.put_device(ctx, request.device, period, book._replace(received_slot=slots.current(ctx)))
    agreement_book.use(ctx, number, source, period, amount)
    share = Share(request.giver, request.device, amount, 0, b"", slots.current(ctx), ctx.tx_id, GRANT, rule)
    record = budget_share.record(ctx, network, period, share)
    agreement_book.add_movement(ctx, number, Movement(source, period, record))


def _close(ctx: Context, number: int, request: Request) -> None:
    """It waits no longer."""
    closed = request._replace(slot=slots.current(ctx))
    ctx.put(_key(number), tuple(closed))
    key, waiting = _listed(ctx, request)
    kept = tuple([(each.number, each.device, each.period) for each in waiting if each.number != number])
    if kept:
        ctx.put(key, kept)
    else:
        ctx.delete(key)
        sides = _sides(ctx, request)
        _put_askers(ctx, sides[-1], [name for name in _askers(ctx, sides[-1]) if name != sides[0]])
    _tell(ctx, number, closed)


def _enlist(ctx: Context, request: Request, number: int) -> None:
    """Note that it waits; what has lapsed makes room for it. Raises ContractError("too-many")."""
    key, waiting = _listed(ctx, request)
    network = identity.device_of(ctx, request.device).network
    over = {period: _is_over(ctx, network, period) for period in dict.fromkeys([each.period for each in waiting])}
    kept = [each for each in waiting if not over[each.period]]
    if len([each for each in kept if each.device == request.device]) >= MAX_OF_DEVICE or len(kept) >= MAX_WAITING:
        raise ContractError(
            "too-many", f"at most {MAX_OF_DEVICE} requests of a device wait there, {MAX_WAITING} of a network"
        )
    if not waiting:
        sides = _sides(ctx, request)
        _put_askers(ctx, sides[-1], [*_askers(ctx, sides[-1]), sides[0]])
    kept.append(_Waiting(number, request.device, request.period))
    ctx.put(key, tuple([(each.number, each.device, each.period) for each in kept]))


def _listed(ctx: Context, request: Request) -> tuple[bytes, list[_Waiting]]:
    """Those that wait of one network at one other: where they are noted, and what is noted there."""
    sides = _sides(ctx, request)
    key = keys.key(_OPEN, sides[-1], sides[0])
    rows = cast("tuple[tuple[int, str, int], ...]", ctx.get(key) or ())
    return key, [_Waiting(*row) for row in rows]


def _askers(ctx: Context, network: str) -> tuple[str, ...]:
    """The networks of which requests wait at ``network``."""
    return cast("tuple[str, ...] | None", ctx.get(keys.key(_OPEN, network))) or ()


def _put_askers(ctx: Context, network: str, names: list[str]) -> None:
    if names:
        ctx.put(keys.key(_OPEN, network), tuple(names))
    else:
        ctx.delete(keys.key(_OPEN, network))


def _is_over(ctx: Context, network: str, period: int) -> bool:
    return budget_state.status_of(ctx, network, period) not in ("planned", "active")


def _tell(ctx: Context, number: int, request: Request) -> None:
    sides = _sides(ctx, request)
    asked = () if request.giver == POOL or request.giver.startswith(OTHER) else (request.giver,)
    told = number, request.state, request.giver, request.period, request.amount, request.granted, request.reason
    ctx.emit("request", (request.device, *asked, *sides), told)


def _row(ctx: Context, number: int) -> tuple[Value, ...]:
    found = request_of(ctx, number)
    return (number, *found._replace(state=state_at(ctx, found)))


def _key(number: int) -> bytes:
    return keys.key(_REQUESTS, number)
