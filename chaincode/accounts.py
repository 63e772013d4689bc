"""Double-entry accounts: every movement leaves one account and enters another, with a reason and a reference.

Accounts, by name:

====================  ==========================================================
``pool:NET:PERIOD``     what a network holds in a billing period, not yet allocated
``device:DEV:PERIOD``   what a device may spend in a period: *available*
``reserved:DEV:PERIOD`` what holds of that device have set aside: *reserved*
``escrow:SLOT``         what buyers of a delivery slot have paid at clearing
``utility``             the supplier of last resort
``grid-operator``       tolls
``congestion``          rent beyond the tolls, kept for the networks
====================  ==========================================================

No balance is ever negative (``insufficient-funds``) or above 63 bits (``bad-amount``), and after every
transaction the sum of all balances equals issued - redeemed, which only ``mint`` and ``burn`` change.

The books of a device and of a network also *count* what went by, and every movement keeps the count by itself:

    device:   allocated + earned + borrowed = available + reserved + spent + lent
    network:  issued + earned = pool + allocated + spent

where *earned* came in from outside the network (escrow, utility, ...) and *spent* went out. Summed over a network's
devices these give the conservation rule of budgets. What a device lent comes off again when it is given back.

There is no journal in state: every movement emits the event ``transfer`` with the data (source, target, amount,
reason, reference), which the block's events keep in order.

This module does not ask who calls it; ``identity.py`` does that. It has no transactions of its own.

State: ``acc-device/`` device, period(4) -> DeviceBook; ``acc-network/`` network, period(4) -> NetworkBook;
``acc-escrow/`` slot(8) -> int; ``acc-named/`` name -> int; ``acc-supply/`` -> (issued, redeemed).
"""

from typing import Final, NamedTuple

from chaincode.contract import MAX_AMOUNT, Context, Contract, ContractError, Value, query

UTILITY: Final = "utility"
GRID_OPERATOR: Final = "grid-operator"
CONGESTION: Final = "congestion"
_NAMED: Final = (UTILITY, GRID_OPERATOR, CONGESTION)

MAX_PERIOD: Final = 2**32 - 1
MAX_SLOT: Final = 2**48

_DEVICES: Final = b"acc-device/"
_NETWORKS: Final = b"acc-network/"
_ESCROWS: Final = b"acc-escrow/"
_NAMED_ACCOUNTS: Final = b"acc-named/"
_SUPPLY: Final = b"acc-supply/"


class DeviceBook(NamedTuple):
    """A device's money in one period, in base units: two balances, then counters. One state value: a hold
    is one read and one write.

    ``stopped`` and ``received_slot`` belong to the budget's rules (``budget_state.py``): 1 while the device may not
    buy; the last slot in which it was helped (-1: never).
    """

    available: int = 0
    reserved: int = 0
    allocated: int = 0
    earned: int = 0
    spent: int = 0
    lent: int = 0
    borrowed: int = 0
    stopped: int = 0
    received_slot: int = -1


class NetworkBook(NamedTuple):
    """A network's money in one period, in base units: the pool's balance, then counters."""

    pool: int = 0
    issued: int = 0
    allocated: int = 0
    earned: int = 0
    spent: int = 0


def device_book(ctx: Context, device: str, period: int) -> DeviceBook:
    """The device's book of ``period``; all zeros if it never had one."""
    value = ctx.get(_device_key(device, period))
    return DeviceBook(*value) if isinstance(value, tuple) else _NO_DEVICE_BOOK  # type: ignore[arg-type]


def network_book(ctx: Context, network: str, period: int) -> NetworkBook:
    """The network's book of ``period``; all zeros if it never had one."""
    value = ctx.get(_network_key(network, period))
    return NetworkBook(*value) if isinstance(value, tuple) else _NO_NETWORK_BOOK  # type: ignore[arg-type]


def balance(ctx: Context, account: str) -> int:
    """What ``account`` holds, in base units. Raises ContractError("bad-account") for a name that is none."""
    kind, owner, number = _parse(account)
    if kind == "pool":
        return network_book(ctx, owner, number).pool
    if kind == "device":
        return device_book(ctx, owner, number).available
    if kind == "reserved":
        return device_book(ctx, owner, number).reserved
    return _plain(ctx, _plain_key(kind, number))


def supply(ctx: Context) -> tuple[int, int]:
    """(issued, redeemed) since genesis, in base units."""
    value = ctx.get(_SUPPLY)
    return value if isinstance(value, tuple) else (0, 0)  # type: ignore[return-value]


def mint(ctx: Context, account: str, amount: int, reason: str, reference: bytes) -> None:
    """New tokens: into a pool (counted as issued to it) or an account outside the networks."""
    _require_amount(amount)
    kind, owner, number = _parse(account)
    if kind == "pool":
        book = network_book(ctx, owner, number)
        _put_network(ctx, owner, number, book._replace(pool=book.pool + amount, issued=book.issued + amount))
    elif kind in ("device", "reserved"):
        raise ContractError("bad-account", "a device receives from its network, not from the issuer")
    else:
        _add_plain(ctx, _plain_key(kind, number), amount)
    issued, redeemed = supply(ctx)
    ctx.put(_SUPPLY, (_bounded(issued + amount), redeemed))
    _emit(ctx, "issued", account, owner, "", amount, reason, reference)


def burn(ctx: Context, account: str, amount: int, reason: str, reference: bytes) -> None:
    """Redeem tokens held outside the networks. Raises ContractError: bad-amount, bad-account, insufficient-funds."""
    _require_amount(amount)
    kind, owner, number = _parse(account)
    if kind in _INSIDE:
        raise ContractError("bad-account", "tokens of a network are redeemed by paying them to the utility first")
    _take_plain(ctx, _plain_key(kind, number), amount)
    issued, redeemed = supply(ctx)
    ctx.put(_SUPPLY, (issued, _bounded(redeemed + amount)))
    _emit(ctx, account, "redeemed", owner, "", amount, reason, reference)


def transfer(ctx: Context, source: str, target: str, amount: int, reason: str, reference: bytes) -> None:
    """Move ``amount`` base units. Out of a network it counts as spent, into one as earned, pool to device as allocated.

    Between devices use ``lend`` and ``give_back``, between available and reserved ``hold`` and ``unhold``.
    Raises ContractError: bad-amount, bad-account, insufficient-funds.
    """
    _require_amount(amount)
    from_kind, from_owner, from_number = _parse(source)
    to_kind, to_owner, to_number = _parse(target)
    from_inside, to_inside = from_kind in _INSIDE, to_kind in _INSIDE
    if source == target or to_kind == "reserved":
        raise ContractError("bad-account", f"nothing moves from {source} to {target}")
    if from_inside and to_inside:
        if from_kind != "pool" or to_kind != "device" or from_number != to_number:
            raise ContractError("bad-account", f"nothing moves from {source} to {target}")
        _allocate(ctx, from_owner, to_owner, from_number, amount)
    else:
        if from_inside:
            _spend(ctx, from_kind, from_owner, from_number, amount)
        else:
            _take_plain(ctx, _plain_key(from_kind, from_number), amount)
        if to_inside:
            _earn(ctx, to_kind, to_owner, to_number, amount)
        else:
            _add_plain(ctx, _plain_key(to_kind, to_number), amount)
    _emit(ctx, source, target, from_owner, to_owner, amount, reason, reference)


def hold(ctx: Context, device: str, period: int, amount: int, reference: bytes) -> DeviceBook | None:
    """Available -> reserved. The book *before* it; None, and nothing done, if too little is available."""
    _require_amount(amount)
    key = _device_key(device, period)
    value = ctx.get(key)
    book = DeviceBook(*value) if isinstance(value, tuple) else _NO_DEVICE_BOOK  # type: ignore[arg-type]
    if book.available < amount:
        return None
    # Every order passes here; what is reserved is bounded by what was issued, so only the others are checked.
    ctx.put(key, (book.available - amount, book.reserved + amount, *book[2:]))
    account = f"{device}:{period}"
    ctx.emit("transfer", (device,), ("device:" + account, "reserved:" + account, amount, "hold", reference))
    return book


def unhold(ctx: Context, device: str, period: int, amount: int, reference: bytes) -> DeviceBook:
    """Reserved -> available: a hold is released. The book *before* it."""
    _require_amount(amount)
    book = device_book(ctx, device, period)
    if book.reserved < amount:
        raise ContractError("insufficient-funds", f"{device} has {book.reserved} reserved")
    ctx.put(_device_key(device, period), (book.available + amount, book.reserved - amount, *book[2:]))
    account = f"{device}:{period}"
    ctx.emit("transfer", (device,), ("reserved:" + account, "device:" + account, amount, "release", reference))
    return book


def pay_reserved(
    ctx: Context, device: str, period: int, amount: int, back: int, target: str, reason: str, reference: bytes
) -> DeviceBook:
    """Reserved -> ``target`` outside the networks, counted as spent, and ``back`` of it -> available, at least 0.

    What a filled order does: ``transfer`` and ``unhold`` in one read and one write. The book *before* it.
    """
    _require_amount(amount)
    kind, _, number = _parse(target)
    if kind in _INSIDE or back < 0:
        raise ContractError("bad-account", f"nothing is paid to {target}, and nothing less than 0 back")
    book = device_book(ctx, device, period)
    available, reserved, allocated, earned, spent = book[:5]
    if reserved < amount + back:
        raise ContractError("insufficient-funds", f"{device} has {reserved} reserved")
    after = (available + back, reserved - amount - back, allocated, earned, _bounded(spent + amount), *book[5:])
    ctx.put(_device_key(device, period), after)
    _add_plain(ctx, _plain_key(kind, number), amount)
    account = f"{device}:{period}"
    ctx.emit("transfer", (device,), ("reserved:" + account, target, amount, reason, reference))
    if back:
        ctx.emit("transfer", (device,), ("reserved:" + account, "device:" + account, back, "release", reference))
    return book


def lend(ctx: Context, giver: str, receiver: str, period: int, amount: int, slot: int, reference: bytes) -> None:
    """Giver's available -> receiver's available, counted as lent and borrowed; the receiver was helped in ``slot``."""
    _require_amount(amount)
    if giver == receiver:
        raise ContractError("bad-account", "a device cannot help itself")
    gives, gets = device_book(ctx, giver, period), device_book(ctx, receiver, period)
    if gives.available < amount:
        raise ContractError("insufficient-funds", f"{giver} has {gives.available}")
    gives = gives._replace(available=gives.available - amount, lent=gives.lent + amount)
    gets = gets._replace(
        available=gets.available + amount, borrowed=gets.borrowed + amount, received_slot=max(gets.received_slot, slot)
    )
    _put_device(ctx, giver, period, gives)
    _put_device(ctx, receiver, period, gets)
    _emit(ctx, f"device:{giver}:{period}", f"device:{receiver}:{period}", giver, receiver, amount, "share", reference)


def give_back(ctx: Context, receiver: str, giver: str, period: int, amount: int, reference: bytes) -> None:
    """Receiver's reserved -> giver's available: what a share did not use. It comes off both counters."""
    _require_amount(amount)
    back, home = device_book(ctx, receiver, period), device_book(ctx, giver, period)
    if back.reserved < amount:
        raise ContractError("insufficient-funds", f"{receiver} has {back.reserved} reserved")
    back = back._replace(reserved=back.reserved - amount, borrowed=back.borrowed - amount)
    home = home._replace(available=home.available + amount, lent=home.lent - amount)
    _put_device(ctx, receiver, period, back)
    _put_device(ctx, giver, period, home)
    names = f"reserved:{receiver}:{period}", f"device:{giver}:{period}"
    _emit(ctx, *names, receiver, giver, amount, "give-back", reference)


def set_stopped(ctx: Context, device: str, period: int, stopped: bool) -> None:
    """Note whether the device may buy; no money moves."""
    _put_device(ctx, device, period, device_book(ctx, device, period)._replace(stopped=int(stopped)))


class Accounts(Contract):
    """Reading accounts. Money moves only as a part of what the other contracts do."""

    name = "accounts"

    @query
    def account(self, ctx: Context, *, account: str) -> Value:
        """The balance of one account, by name."""
        return balance(ctx, account)

    @query
    def supply(self, ctx: Context) -> Value:
        """(issued, redeemed) in base units."""
        return supply(ctx)

    @query
    def audit(self, ctx: Context) -> Value:
        """(issued, redeemed, sum of all balances): the first two differ by the third, always. Reads all accounts."""
        whole = 0
        for _, book in ctx.scan(_DEVICES):
            whole += DeviceBook(*book).available + DeviceBook(*book).reserved  # type: ignore[misc]
        for _, book in ctx.scan(_NETWORKS):
            whole += NetworkBook(*book).pool  # type: ignore[misc]
        for prefix in (_ESCROWS, _NAMED_ACCOUNTS):
            for _, plain in ctx.scan(prefix):
                whole += plain  # type: ignore[operator]
        return (*supply(ctx), whole)


_INSIDE: Final = ("device", "reserved", "pool")
_NO_DEVICE_BOOK: Final = DeviceBook()
_NO_NETWORK_BOOK: Final = NetworkBook()


def _parse(account: str) -> tuple[str, str, int]:
    """Kind, owner and period (or slot) of an account's name."""
    if account in _NAMED:
        return account, "", 0
    parts = account.split(":")
    kind, number = parts[0], parts[-1]
    if number.isascii() and number.isdecimal() and len(number) <= 15:
        if kind in _INSIDE and len(parts) == 3 and 0 < len(parts[1]) <= 48 and int(number) <= MAX_PERIOD:
            return kind, parts[1], int(number)
        if kind == "escrow" and len(parts) == 2 and int(number) <= MAX_SLOT:
            return kind, "", int(number)
    raise ContractError("bad-account", f"{account[:80]} is no account")


def _spend(ctx: Context, kind: str, owner: str, period: int, amount: int) -> None:
    """Out of a device's or pool's balance, counted as spent."""
    if kind == "pool":
        pool = network_book(ctx, owner, period)
        if pool.pool < amount:
            raise ContractError("insufficient-funds", f"the pool of {owner} has {pool.pool}")
        _put_network(ctx, owner, period, pool._replace(pool=pool.pool - amount, spent=pool.spent + amount))
        return
    book = device_book(ctx, owner, period)
    if kind == "reserved":
        after = book._replace(reserved=book.reserved - amount, spent=book.spent + amount)
    else:
        after = book._replace(available=book.available - amount, spent=book.spent + amount)
    if after.reserved < 0 or after.available < 0:
        raise ContractError("insufficient-funds", f"{owner} has {book.available} available, {book.reserved} reserved")
    _put_device(ctx, owner, period, after)


def _earn(ctx: Context, kind: str, owner: str, period: int, amount: int) -> None:
    if kind == "pool":
        pool = network_book(ctx, owner, period)
        _put_network(ctx, owner, period, pool._replace(pool=pool.pool + amount, earned=pool.earned + amount))
    else:
        book = device_book(ctx, owner, period)
        after = book._replace(available=book.available + amount, earned=book.earned + amount)
        _put_device(ctx, owner, period, after)


def _allocate(ctx: Context, network: str, device: str, period: int, amount: int) -> None:
    pool = network_book(ctx, network, period)
    if pool.pool < amount:
        raise ContractError("insufficient-funds", f"the pool of {network} has {pool.pool}")
    book = device_book(ctx, device, period)
    book = book._replace(available=book.available + amount, allocated=book.allocated + amount)
    _put_network(ctx, network, period, pool._replace(pool=pool.pool - amount, allocated=pool.allocated + amount))
    _put_device(ctx, device, period, book)


def _device_key(device: str, period: int) -> bytes:
    return _DEVICES + device.encode() + b"\0" + period.to_bytes(4, "big")


def _network_key(network: str, period: int) -> bytes:
    return _NETWORKS + network.encode() + b"\0" + period.to_bytes(4, "big")


def _plain_key(kind: str, slot: int) -> bytes:
    return _ESCROWS + slot.to_bytes(8, "big") if kind == "escrow" else _NAMED_ACCOUNTS + kind.encode()


def _plain(ctx: Context, key: bytes) -> int:
    value = ctx.get(key)
    return value if isinstance(value, int) else 0


def _add_plain(ctx: Context, key: bytes, amount: int) -> None:
    ctx.put(key, _bounded(_plain(ctx, key) + amount))


def _take_plain(ctx: Context, key: bytes, amount: int) -> None:
    held = _plain(ctx, key)
    if held < amount:
        raise ContractError("insufficient-funds", f"the account has {held}", (held, amount))
    ctx.put(key, held - amount)


def _put_device(ctx: Context, device: str, period: int, book: DeviceBook) -> None:
    if max(book) > MAX_AMOUNT:
        raise ContractError("bad-amount", "a book would pass 63 bits")
    ctx.put(_device_key(device, period), tuple(book))


def _put_network(ctx: Context, network: str, period: int, book: NetworkBook) -> None:
    if max(book) > MAX_AMOUNT:
        raise ContractError("bad-amount", "a book would pass 63 bits")
    ctx.put(_network_key(network, period), tuple(book))


def _bounded(total: int) -> int:
    if total > MAX_AMOUNT:
        raise ContractError("bad-amount", "a balance would pass 63 bits")
    return total


def _require_amount(amount: int) -> None:
    if not 0 < amount <= MAX_AMOUNT:
        raise ContractError("bad-amount", "an amount is an integer from 1 to 2^63-1")


def _emit(
    ctx: Context, source: str, target: str, giver: str, taker: str, amount: int, reason: str, reference: bytes
) -> None:
    keys = tuple(owner for owner in (giver, taker) if owner)
    ctx.emit("transfer", keys, (source, target, amount, reason, reference))
