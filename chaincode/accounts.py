"""Double-entry accounts: every movement leaves one account and enters another, with a reason and a reference.

The names of accounts and the books are in ``account_books.py``; callers find them here as well.
No balance is ever negative (``insufficient-funds``) or above 63 bits (``bad-amount``), and after every
transaction the sum of all balances equals issued - redeemed, which only ``mint`` and ``burn`` change.

The books of a device, a network and a company also *count* what went by, and every movement keeps the count by itself:

    device:   allocated + earned + borrowed = available + reserved + spent + lent + withdrawn
    pool:     issued + earned + received + carried_in + withdrawn
                  = pool + allocated + spent + sent + sold + returned + redeemed + carried_out
    company:  issued + received + carried_in = pool + sent + sold + returned + redeemed + carried_out
    a network with its devices:
              carried_in + issued + received + earned
                  = pool + available + reserved + spent + sent + sold + returned + redeemed + carried_out

where *earned* came in from outside (escrow, utility, ...) and *spent* went out; *sent* and *sold* went to another pool
or company, where it is *received*; *carried* went from one period to a later one of the same owner; *returned* went
back to the utility and *redeemed* out of the world; *withdrawn* came back from a device to its network's pool. What
a device lent, or a network sent, comes off again when it is given back unused.

There is no journal in state: every movement emits the event ``transfer`` with the data (source, target, amount,
reason, reference), which the block's events keep in order. Who calls is asked by ``identity.py``, not here.
"""

from typing import Final

from chaincode.account_books import (
    CONGESTION,
    GRID_OPERATOR,
    INSIDE,
    MAX_PERIOD,
    MAX_SLOT,
    NO_DEVICE_BOOK,
    POOLS,
    UTILITY,
    DeviceBook,
    NetworkBook,
    add_plain,
    balance,
    bounded,
    company_book,
    device_book,
    device_key,
    drawn,
    network_book,
    of_account,
    parse,
    plain_key,
    pool_book,
    put_device,
    put_pool,
    put_supply,
    require_amount,
    sum_of_balances,
    supply,
    take_plain,
)
from chaincode.arguments import Account
from chaincode.contract import Context, Contract, ContractError, Value, query
from chaincode.subjects import public

__all__ = [
    "CONGESTION",
    "GRID_OPERATOR",
    "MAX_PERIOD",
    "MAX_SLOT",
    "UTILITY",
    "Accounts",
    "DeviceBook",
    "NetworkBook",
    "balance",
    "burn",
    "company_book",
    "device_book",
    "give",
    "give_back",
    "hold",
    "lend",
    "mint",
    "network_book",
    "pay_reserved",
    "set_stopped",
    "supply",
    "transfer",
    "ungive",
    "unhold",
    "withdraw",
]

_RETURN: Final = "return"
_GIFTS: Final = ("share", "sale", "carry")


def mint(ctx: Context, account: str, amount: int, reason: str, reference: bytes) -> None:
    """New tokens: into a pool or company (counted as issued to it) or an account outside."""
    require_amount(amount)
    kind, owner, number = parse(account)
    if kind in POOLS:
        book = pool_book(ctx, kind, owner, number)
        book = book._replace(pool=book.pool + amount, issued=book.issued + amount)
        put_pool(ctx, kind, owner, number, book)
    elif kind in INSIDE:
        raise ContractError("bad-account", "a device receives from its network, not from the issuer")
    else:
        add_plain(ctx, plain_key(kind, number), amount)
    issued, redeemed = supply(ctx)
    put_supply(ctx, issued + amount, redeemed)
    _emit(ctx, "issued", account, owner, "", amount, reason, reference)


def burn(ctx: Context, account: str, amount: int, reason: str, reference: bytes) -> None:
    """Redeem tokens: of a pool or company (counted as redeemed) or of an account outside.

    Raises ContractError: bad-amount, bad-account, insufficient-funds.
    """
    require_amount(amount)
    kind, owner, number = parse(account)
    if kind in POOLS:
        book = drawn(ctx, kind, owner, number, amount)
        put_pool(ctx, kind, owner, number, book._replace(redeemed=book.redeemed + amount))
    elif kind in INSIDE:
        raise ContractError("bad-account", "tokens of a device are redeemed by its network")
    else:
        take_plain(ctx, plain_key(kind, number), amount)
    issued, redeemed = supply(ctx)
    put_supply(ctx, issued, redeemed + amount)
    _emit(ctx, account, "redeemed", owner, "", amount, reason, reference)


def transfer(ctx: Context, source: str, target: str, amount: int, reason: str, reference: bytes) -> None:
    """Move ``amount`` base units. Out of a network it counts as spent, into one as earned, pool to device as allocated.

    From a pool to the utility for the reason "return" it counts as returned; nothing else leaves a company this way,
    and nothing enters one. Between devices use ``lend`` and ``give_back``, between available and reserved ``hold`` and
    ``unhold``, between pools and companies ``give``, from a device to its pool ``withdraw``.
    Raises ContractError: bad-amount, bad-account, insufficient-funds.
    """
    require_amount(amount)
    from_kind, from_owner, from_number = parse(source)
    to_kind, to_owner, to_number = parse(target)
    from_inside, to_inside = from_kind in INSIDE, to_kind in INSIDE
    returns = to_kind == UTILITY and reason == _RETURN
    if source == target or to_kind in ("reserved", "company") or (from_kind == "company" and not returns):
        raise ContractError("bad-account", f"nothing moves from {source} to {target}")
    if from_inside and to_inside:
        if from_kind != "pool" or to_kind != "device" or from_number != to_number:
            raise ContractError("bad-account", f"nothing moves from {source} to {target}")
        _allocate(ctx, from_owner, to_owner, from_number, amount)
    else:
        if from_kind in POOLS:
            book = drawn(ctx, from_kind, from_owner, from_number, amount)
            if returns:
                book = book._replace(returned=book.returned + amount)
            else:
                book = book._replace(spent=book.spent + amount)
            put_pool(ctx, from_kind, from_owner, from_number, book)
        elif from_inside:
            _spend(ctx, from_kind, from_owner, from_number, amount)
        else:
            take_plain(ctx, plain_key(from_kind, from_number), amount)
        if to_inside:
            _earn(ctx, to_kind, to_owner, to_number, amount)
        else:
            add_plain(ctx, plain_key(to_kind, to_number), amount)
    _emit(ctx, source, target, from_owner, to_owner, amount, reason, reference)


def hold(ctx: Context, device: str, period: int, amount: int, reference: bytes) -> DeviceBook | None:
    """Available -> reserved. The book *before* it; None, and nothing done, if too little is available."""
    require_amount(amount)
    key = device_key(device, period)
    value = ctx.get(key)
    book = DeviceBook(*value) if isinstance(value, tuple) else NO_DEVICE_BOOK  # type: ignore[arg-type]
    if book.available < amount:
        return None
    # Every order passes here; what is reserved is bounded by what was issued, so only the others are checked.
    ctx.put(key, (book.available - amount, book.reserved + amount, *book[2:]))
    account = f"{device}:{period}"
    ctx.emit("transfer", (device,), ("device:" + account, "reserved:" + account, amount, "hold", reference))
    return book


def unhold(ctx: Context, device: str, period: int, amount: int, ref: bytes, free: bool = False) -> DeviceBook | None:
    """Reserved -> available: a hold is released. The book *before* it; None, and nothing done, if something reserved is
    ``claimed``, unless what is released is the device's own beyond that (``free``)."""
    require_amount(amount)
    book = device_book(ctx, device, period)
    if book.claimed and not free:
        return None
    if book.reserved < amount:
        raise ContractError("insufficient-funds", f"{device} has {book.reserved} reserved")
    ctx.put(device_key(device, period), (book.available + amount, book.reserved - amount, *book[2:]))
    account = f"{device}:{period}"
    ctx.emit("transfer", (device,), ("reserved:" + account, "device:" + account, amount, "release", ref))
    return book


def pay_reserved(
    ctx: Context, device: str, period: int, amount: int, back: int, target: str, reason: str, reference: bytes
) -> DeviceBook:
    """Reserved -> ``target`` outside the networks, counted as spent, and ``back`` of it -> available, at least 0.

    What a filled order does: ``transfer`` and ``unhold`` in one read and one write. The book *before* it; ``back``
    stays reserved if it is ``claimed``.
    """
    require_amount(amount)
    kind, _, number = parse(target)
    if kind in INSIDE or back < 0:
        raise ContractError("bad-account", f"nothing is paid to {target}, and nothing less than 0 back")
    book = device_book(ctx, device, period)
    available, reserved, allocated, earned, spent = book[:5]
    if reserved < amount + back:
        raise ContractError("insufficient-funds", f"{device} has {reserved} reserved")
    back *= not book.claimed
    after = (available + back, reserved - amount - back, allocated, earned, bounded(spent + amount), *book[5:])
    ctx.put(device_key(device, period), after)
    add_plain(ctx, plain_key(kind, number), amount)
    account = f"{device}:{period}"
    ctx.emit("transfer", (device,), ("reserved:" + account, target, amount, reason, reference))
    if back:
        ctx.emit("transfer", (device,), ("reserved:" + account, "device:" + account, back, "release", reference))
    return book


def lend(ctx: Context, giver: str, receiver: str, period: int, amount: int, slot: int, reference: bytes) -> None:
    """Giver's available -> receiver's available, counted as lent and borrowed; the receiver was helped in ``slot``."""
    require_amount(amount)
    if giver == receiver:
        raise ContractError("bad-account", "a device cannot help itself")
    gives, gets = device_book(ctx, giver, period), device_book(ctx, receiver, period)
    if gives.available < amount:
        raise ContractError("insufficient-funds", f"{giver} has {gives.available}")
    gives = gives._replace(available=gives.available - amount, lent=gives.lent + amount)
    gets = gets._replace(
        available=gets.available + amount, borrowed=gets.borrowed + amount, received_slot=max(gets.received_slot, slot)
    )
    put_device(ctx, giver, period, gives)
    put_device(ctx, receiver, period, gets)
    _emit(ctx, f"device:{giver}:{period}", f"device:{receiver}:{period}", giver, receiver, amount, "share", reference)


def give_back(ctx: Context, receiver: str, giver: str, period: int, amount: int, reference: bytes) -> None:
    """Receiver's reserved -> giver's available: what a share did not use. It comes off both counters."""
    require_amount(amount)
    back, home = device_book(ctx, receiver, period), device_book(ctx, giver, period)
    if back.reserved < amount:
        raise ContractError("insufficient-funds", f"{receiver} has {back.reserved} reserved")
    back = back._replace(reserved=back.reserved - amount, borrowed=back.borrowed - amount)
    home = home._replace(available=home.available + amount, lent=home.lent - amount)
    put_device(ctx, receiver, period, back)
    put_device(ctx, giver, period, home)
    names = f"reserved:{receiver}:{period}", f"device:{giver}:{period}"
    _emit(ctx, *names, receiver, giver, amount, "give-back", reference)


def withdraw(
    ctx: Context, device: str, network: str, period: int, amount: int, reason: str, reference: bytes
) -> DeviceBook:
    """Device's available -> the pool of its network, counted as withdrawn in both books. The device's book *before* it.

    Raises ContractError: bad-amount, bad-account, insufficient-funds.
    """
    require_amount(amount)
    source, target = f"device:{device}:{period}", f"pool:{network}:{period}"
    parse(source), parse(target)
    book, pool = device_book(ctx, device, period), network_book(ctx, network, period)
    if book.available < amount:
        raise ContractError("insufficient-funds", f"{device} has {book.available}")
    after = book._replace(available=book.available - amount, withdrawn=book.withdrawn + amount)
    put_device(ctx, device, period, after)
    pool = pool._replace(pool=pool.pool + amount, withdrawn=pool.withdrawn + amount)
    put_pool(ctx, "pool", network, period, pool)
    _emit(ctx, source, target, device, network, amount, reason, reference)
    return book


def give(ctx: Context, source: str, target: str, amount: int, reason: str, reference: bytes) -> None:
    """From a pool or company to another one. Their periods may differ: networks have calendars of their own.

    The reason says how it is counted: "share" as sent and received, "sale" as sold and received, "carry" as carried out
    and in; the last is from one period to a later one of the same owner. Raises ContractError: bad-amount, bad-account
    (also for another reason), insufficient-funds.
    """
    require_amount(amount)
    giver, taker = parse(source), parse(target)
    carries = giver[:2] == taker[:2] and giver[2] < taker[2]
    allowed = giver != taker and giver[0] in POOLS and taker[0] in POOLS and reason in _GIFTS
    if not allowed or (reason == "carry" and not carries):
        raise ContractError("bad-account", f"nothing is given from {source} to {target} as {reason[:20]}")
    gives, gets = drawn(ctx, *giver, amount), pool_book(ctx, *taker)
    gets = gets._replace(pool=gets.pool + amount)
    if reason == "carry":
        gives = gives._replace(carried_out=gives.carried_out + amount)
        gets = gets._replace(carried_in=gets.carried_in + amount)
    else:
        sent, sold = (amount, 0) if reason == "share" else (0, amount)
        gives = gives._replace(sent=gives.sent + sent, sold=gives.sold + sold)
        gets = gets._replace(received=gets.received + amount)
    put_pool(ctx, *giver, gives)
    put_pool(ctx, *taker, gets)
    _emit(ctx, source, target, giver[1], taker[1], amount, reason, reference)


def ungive(
    ctx: Context, device: str, period: int, giver_pool: str, own_network: str, amount: int, reference: bytes
) -> None:
    """Device's reserved -> ``giver_pool``: what a share, allocated to ``device`` and reserved by it, did not use.

    ``giver_pool`` is the pool that the share came from, by name. If it is another one than that of the device's
    ``own_network``, what was given and allocated is undone: it comes off the device's allocated, off allocated and
    received of its network, and off sent of the giver. If it is the device's own pool of ``period``, the pool itself
    has helped, nothing was given, and it comes off both allocated only. Raises ContractError: bad-amount, bad-account,
    insufficient-funds (also if less was counted than would come off).
    """
    require_amount(amount)
    source = f"reserved:{device}:{period}"
    parse(source)
    giver, own = parse(giver_pool), parse(f"pool:{own_network}:{period}")
    if giver[0] != "pool":
        raise ContractError("bad-account", f"nothing that is unused goes back to {giver_pool}")
    book, home, gave = device_book(ctx, device, period), pool_book(ctx, *own), pool_book(ctx, *giver)
    counted = min(book.reserved, book.allocated, home.allocated)
    if giver != own:
        counted = min(counted, home.received, gave.sent)
    if counted < amount:
        raise ContractError("insufficient-funds", f"{counted} may go back from {source} to {giver_pool}")
    after = book._replace(reserved=book.reserved - amount, allocated=book.allocated - amount)
    put_device(ctx, device, period, after)
    home = home._replace(allocated=home.allocated - amount)
    if giver == own:
        home = home._replace(pool=home.pool + amount)
    else:
        home = home._replace(received=home.received - amount)
        put_pool(ctx, *giver, gave._replace(pool=gave.pool + amount, sent=gave.sent - amount))
    put_pool(ctx, *own, home)
    _emit(ctx, source, giver_pool, device, giver[1], amount, "give-back", reference)


def set_stopped(ctx: Context, device: str, period: int, stopped: bool) -> None:
    """Note whether the device may buy; no money moves."""
    put_device(ctx, device, period, device_book(ctx, device, period)._replace(stopped=int(stopped)))


class Accounts(Contract):
    """Reading accounts. Money moves only as a part of what the other contracts do."""

    name = "accounts"

    @query(of=of_account)
    def account(self, ctx: Context, *, account: Account) -> Value:
        """The balance of one account, by name."""
        return balance(ctx, account)

    @query(of=public)
    def supply(self, ctx: Context) -> Value:
        """(issued, redeemed) in base units."""
        return supply(ctx)

    @query(of=public)
    def audit(self, ctx: Context) -> Value:
        """(issued, redeemed, sum of all balances): the first two differ by the third, always. Reads all accounts."""
        return (*supply(ctx), sum_of_balances(ctx))


def _spend(ctx: Context, kind: str, owner: str, period: int, amount: int) -> None:
    """Out of a device's available or reserved, counted as spent."""
    book = device_book(ctx, owner, period)
    if kind == "reserved":
        after = book._replace(reserved=book.reserved - amount, spent=book.spent + amount)
    else:
        after = book._replace(available=book.available - amount, spent=book.spent + amount)
    if after.reserved < 0 or after.available < 0:
        raise ContractError("insufficient-funds", f"{owner} has {book.available} available, {book.reserved} reserved")
    put_device(ctx, owner, period, after)


def _earn(ctx: Context, kind: str, owner: str, period: int, amount: int) -> None:
    if kind == "pool":
        pool = network_book(ctx, owner, period)
        put_pool(ctx, kind, owner, period, pool._replace(pool=pool.pool + amount, earned=pool.earned + amount))
    else:
        book = device_book(ctx, owner, period)
        after = book._replace(available=book.available + amount, earned=book.earned + amount)
        put_device(ctx, owner, period, after)


def _allocate(ctx: Context, network: str, device: str, period: int, amount: int) -> None:
    pool = drawn(ctx, "pool", network, period, amount)
    book = device_book(ctx, device, period)
    book = book._replace(available=book.available + amount, allocated=book.allocated + amount)
    put_pool(ctx, "pool", network, period, pool._replace(allocated=pool.allocated + amount))
    put_device(ctx, device, period, book)


def _emit(
    ctx: Context, source: str, target: str, giver: str, taker: str, amount: int, reason: str, reference: bytes
) -> None:
    keys = tuple(owner for owner in dict.fromkeys((giver, taker)) if owner)
    ctx.emit("transfer", keys, (source, target, amount, reason, reference))
