"""The names of accounts, and the books that stand behind them. What moves between them is in ``accounts.py``.

=====================  ==========================================================
``company:MEM:PERIOD``   what a company (a member) holds in a billing period, not yet given to its networks
``pool:NET:PERIOD``      what a network holds in a billing period, not yet allocated
``device:DEV:PERIOD``    what a device may spend in a period: *available*
``reserved:DEV:PERIOD``  what holds of that device have set aside: *reserved*
``escrow:SLOT``          what buyers of a delivery slot have paid at clearing
``utility``              the supplier of last resort
``grid-operator``        tolls
``congestion``           rent beyond the tolls, kept for the networks
=====================  ==========================================================

Companies, pools and devices are *inside* the world of budgets; the others are outside.

State: ``acc-device/`` device NUL period(4) -> DeviceBook; ``acc-network/`` network NUL period(4) -> NetworkBook;
``acc-company/`` member NUL period(4) -> NetworkBook; ``acc-escrow/`` slot(8) -> int; ``acc-named/`` name -> int;
``acc-supply/`` -> (issued, redeemed).
"""

from typing import Any, Final, NamedTuple

from chaincode.contract import MAX_AMOUNT, Context, ContractError, Subject
from chaincode.subjects import BUDGET, DEVICE, EVERYBODY, MEMBER, NETWORK

UTILITY: Final = "utility"
GRID_OPERATOR: Final = "grid-operator"
CONGESTION: Final = "congestion"
_NAMED: Final = (UTILITY, GRID_OPERATOR, CONGESTION)
POOLS: Final = ("pool", "company")
"""The kinds of accounts that have a NetworkBook."""
INSIDE: Final = ("device", "reserved", *POOLS)

MAX_PERIOD: Final = 2**32 - 1
MAX_SLOT: Final = 2**48

_DEVICES: Final = b"acc-device/"
_NETWORKS: Final = b"acc-network/"
_COMPANIES: Final = b"acc-company/"
_ESCROWS: Final = b"acc-escrow/"
_NAMED_ACCOUNTS: Final = b"acc-named/"
_SUPPLY: Final = b"acc-supply/"


class DeviceBook(NamedTuple):
    """A device's money in one period, in base units: two balances, then counters. One state value: a hold
    is one read and one write.

    ``stopped`` and ``received_slot`` belong to the budget's rules (``budget_state.py``): 1 while the device may not
    buy; the last slot in which it was helped (-1: never). ``claimed``: how much of what is reserved is others' before
    it is the device's own (``budget_secured.py``); 0 with nearly everybody.
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
    withdrawn: int = 0
    claimed: int = 0


class NetworkBook(NamedTuple):
    """A network's or a company's money in one period, in base units: the pool's balance, then counters."""

    pool: int = 0
    issued: int = 0
    allocated: int = 0
    earned: int = 0
    spent: int = 0
    withdrawn: int = 0
    received: int = 0
    sent: int = 0
    sold: int = 0
    returned: int = 0
    redeemed: int = 0
    carried_in: int = 0
    carried_out: int = 0


NO_DEVICE_BOOK: Final = DeviceBook()
_NO_NETWORK_BOOK: Final = NetworkBook()


def device_book(ctx: Context, device: str, period: int) -> DeviceBook:
    """The device's book of ``period``; all zeros if it never had one."""
    value = ctx.get(device_key(device, period))
    return DeviceBook(*value) if isinstance(value, tuple) else NO_DEVICE_BOOK  # type: ignore[arg-type]


def network_book(ctx: Context, network: str, period: int) -> NetworkBook:
    """The network's book of ``period``; all zeros if it never had one."""
    return _pool_book(ctx, _pool_key("pool", network, period))


def company_book(ctx: Context, member: str, period: int) -> NetworkBook:
    """The book of the company ``member`` of ``period``; all zeros if it never had one."""
    return _pool_book(ctx, _pool_key("company", member, period))


def pool_book(ctx: Context, kind: str, owner: str, period: int) -> NetworkBook:
    """The book of the network or company ``owner``; ``kind`` is one of POOLS."""
    return _pool_book(ctx, _pool_key(kind, owner, period))


def drawn(ctx: Context, kind: str, owner: str, period: int, amount: int) -> NetworkBook:
    """The book of a pool or company without ``amount`` of its balance; not yet counted, nor written.

    Raises ContractError("insufficient-funds").
    """
    book = pool_book(ctx, kind, owner, period)
    if book.pool < amount:
        raise ContractError("insufficient-funds", f"the {kind} of {owner} has {book.pool}")
    return book._replace(pool=book.pool - amount)


def periods_of(ctx: Context, kind: str, owner: str, first: int, end: int) -> list[int]:
    """The periods from ``first`` on, before ``end``, in which the network or company ``owner`` ever had a book."""
    start = _pool_key(kind, owner, 0)[:-4]
    found = []
    for key, _ in ctx.scan(start, after=_pool_key(kind, owner, first - 1) if first else b""):
        period = int.from_bytes(key[-4:], "big")
        if period >= end:
            break
        found.append(period)
    return found


def latest_period(ctx: Context, kind: str, owner: str) -> int:
    """The highest period in which the network or company ``owner`` ever had a book; -1 if it never had one."""
    found = next(ctx.scan(_pool_key(kind, owner, 0)[:-4], reverse=True), None)
    return -1 if found is None else int.from_bytes(found[0][-4:], "big")


def balance(ctx: Context, account: str) -> int:
    """What ``account`` holds, in base units. Raises ContractError("bad-account") for a name that is none."""
    kind, owner, number = parse(account)
    if kind in POOLS:
        return pool_book(ctx, kind, owner, number).pool
    if kind == "device":
        return device_book(ctx, owner, number).available
    if kind == "reserved":
        return device_book(ctx, owner, number).reserved
    return _plain(ctx, plain_key(kind, number))


def supply(ctx: Context) -> tuple[int, int]:
    """(issued, redeemed) since genesis, in base units."""
    value = ctx.get(_SUPPLY)
    return value if isinstance(value, tuple) else (0, 0)  # type: ignore[return-value]


def put_supply(ctx: Context, issued: int, redeemed: int) -> None:
    """Replace what ``supply`` answers."""
    ctx.put(_SUPPLY, (bounded(issued), bounded(redeemed)))


def sum_of_balances(ctx: Context) -> int:
    """What all accounts hold together. Reads them all."""
    whole = 0
    for _, book in ctx.scan(_DEVICES):
        whole += DeviceBook(*book).available + DeviceBook(*book).reserved  # type: ignore[misc]
    for prefix in (_NETWORKS, _COMPANIES):
        for _, book in ctx.scan(prefix):
            whole += NetworkBook(*book).pool  # type: ignore[misc]
    for prefix in (_ESCROWS, _NAMED_ACCOUNTS):
        for _, plain in ctx.scan(prefix):
            whole += plain  # type: ignore[operator]
    return whole


def parse(account: str) -> tuple[str, str, int]:
    """Kind, owner and period (or slot) of an account's name. Raises ContractError("bad-account")."""
    if account in _NAMED:
        return account, "", 0
    parts = account.split(":")
    kind, number = parts[0], parts[-1]
    if number.isascii() and number.isdecimal() and len(number) <= 15:
        if kind in INSIDE and len(parts) == 3 and 0 < len(parts[1]) <= 48 and int(number) <= MAX_PERIOD:
            return kind, parts[1], int(number)
        if kind == "escrow" and len(parts) == 2 and int(number) <= MAX_SLOT:
            return kind, "", int(number)
    raise ContractError("bad-account", f"{account[:80]} is no account")


def of_account(ctx: Context, args: dict[str, Any]) -> tuple[Subject, ...]:
    """Whose account it is; what lies outside of networks, devices and companies is summed over all."""
    kind, owner, _ = parse(args["account"])
    holder = {"device": DEVICE, "reserved": DEVICE, "pool": NETWORK, "company": MEMBER}.get(kind)
    return (EVERYBODY,) if holder is None else (Subject(holder, owner, BUDGET),)


def device_key(device: str, period: int) -> bytes:
    """Where a device's book is kept."""
    return _DEVICES + device.encode() + b"\0" + period.to_bytes(4, "big")


def plain_key(kind: str, slot: int) -> bytes:
    """Where the balance of an account outside is kept."""
    return _ESCROWS + slot.to_bytes(8, "big") if kind == "escrow" else _NAMED_ACCOUNTS + kind.encode()


def put_device(ctx: Context, device: str, period: int, book: DeviceBook) -> None:
    """Replace a device's book. Raises ContractError("bad-amount") beyond 63 bits."""
    if max(book) > MAX_AMOUNT:
        raise ContractError("bad-amount", "a book would pass 63 bits")
    ctx.put(device_key(device, period), tuple(book))


def put_pool(ctx: Context, kind: str, owner: str, period: int, book: NetworkBook) -> None:
    """Replace the book of a network or company. Raises ContractError("bad-amount") beyond 63 bits."""
    if max(book) > MAX_AMOUNT:
        raise ContractError("bad-amount", "a book would pass 63 bits")
    ctx.put(_pool_key(kind, owner, period), tuple(book))


def open_pool(ctx: Context, network: str, period: int) -> None:
    """A book for what devices of ``network`` get in ``period`` past its pool: who closes periods goes by them."""
    key = _pool_key("pool", network, period)
    if ctx.get(key) is None:
        ctx.put(key, tuple(_NO_NETWORK_BOOK))


def add_plain(ctx: Context, key: bytes, amount: int) -> None:
    """Into an account outside. Raises ContractError("bad-amount") beyond 63 bits."""
    ctx.put(key, bounded(_plain(ctx, key) + amount))


def take_plain(ctx: Context, key: bytes, amount: int) -> None:
    """Out of an account outside. Raises ContractError("insufficient-funds")."""
    held = _plain(ctx, key)
    if held < amount:
        raise ContractError("insufficient-funds", f"the account has {held}", (held, amount))
    ctx.put(key, held - amount)


def bounded(total: int) -> int:
    """``total``, unless it is beyond 63 bits: ContractError("bad-amount")."""
    if total > MAX_AMOUNT:
        raise ContractError("bad-amount", "a balance would pass 63 bits")
    return total


def require_amount(amount: int) -> None:
    """Raises ContractError("bad-amount") for what is no amount of a movement."""
    if not 0 < amount <= MAX_AMOUNT:
        raise ContractError("bad-amount", "an amount is an integer from 1 to 2^63-1")


def _pool_book(ctx: Context, key: bytes) -> NetworkBook:
    value = ctx.get(key)
    return NetworkBook(*value) if isinstance(value, tuple) else _NO_NETWORK_BOOK  # type: ignore[arg-type]


def _pool_key(kind: str, owner: str, period: int) -> bytes:
    return (_NETWORKS if kind == "pool" else _COMPANIES) + owner.encode() + b"\0" + period.to_bytes(4, "big")


def _plain(ctx: Context, key: bytes) -> int:
    value = ctx.get(key)
    return value if isinstance(value, int) else 0
