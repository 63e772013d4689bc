"""Erasure: what a household used leaves the ledger when its owner asks for it, as far as no rule needs it any more.

Asked for by the owner of a network, or the member that it belongs to, for the network or one of its devices, up to a
slot that is FINAL. From then on

- every node erases the meters' transactions and events of these slots from its blocks
  (``node/ledger/erasing.py``); what is left of each is its digest, so that the chain stays verifiable;
- the entries go from the state a little in every block, slot after slot, under the conditions of retention
  (``market_retention``): readings of a week make estimates, so they stay for that long, and the last one of a meter
  for as long as it is the last. Of a network go also its settlement of the slot with its entries, and its origins,
  from which the readings could be worked out; of a device alone only its readings. Sums of periods and money stay.

Count and digest stay (``pruned.Erased``): a chain as ``pruned.chained``, the readings of a slot before the rest, and
every reading lies beside a blind, so that nobody can try readings until one fits.

State: ``erased/`` of ``pruned.py``; ``erasing/``: time(8) when it goes on, network, device or "" -> both names.
"""

from collections.abc import Iterator
from typing import Any, Final, cast

from chaincode import identity, market_products, market_retention, pruned, roles
from chaincode.contract import Context, Contract, ContractError, Subject, Value, query, transaction
from chaincode.keys import text, uint
from chaincode.pruned import Erased
from chaincode.subjects import NETWORK, READINGS

_QUEUE: Final = b"erasing/"
WORK_PER_BLOCK: Final = 200
"""Entries and slots together."""
_AGAIN_S: Final = 3_600
"""When a slot that something is still to be done with is looked at again."""
NETWORK_TABLES: Final = (b"settled/", b"settled-entry/", b"origin-slot/", b"origin-used/")
"""Of a network, besides the readings of its devices."""

ASKED: Final = "erasure-asked"
"""The event: keys (network, device or none), data (first slot, last slot)."""
ERASED: Final = "erased"
"""The event when the state is done: keys as before, data (last slot, entries)."""


def _of_erased(ctx: Context, args: dict[str, Any]) -> tuple[Subject, ...]:
    """The network; nobody if the device is another network's, whose record a proof would show."""
    if args["device"] and identity.device_of(ctx, args["device"]).network != args["network"]:
        return ()
    return (Subject(NETWORK, args["network"], READINGS),)


class Erasure(Contract):
    """Requests in; entries out."""

    name = "erasure"
    results = READINGS
    indexed = (_QUEUE,)

    def begin_block(self, ctx: Context) -> None:
        work = WORK_PER_BLOCK
        while work > 0:
            found = next(ctx.scan(_QUEUE), None)
            if found is None or _due(found[0]) > ctx.time:
                return
            ctx.delete(found[0])
            work -= _go_on(ctx, *cast("tuple[str, str]", found[1]), work)

    def next_event(self, ctx: Context) -> int | None:
        found = next(ctx.scan(_QUEUE), None)
        return None if found is None else _due(found[0])

    @transaction
    def erase(self, ctx: Context, *, network: str, last_slot: int, device: str = "") -> Value:
        """Erase what was measured of a network, or of one of its devices, from the beginning up to ``last_slot``;
        returns (first slot, last slot) of what was not asked for before.

        By the network's owner, or its member. Raises ContractError: unknown-network, wrong-key, unknown-device (of
        this network), not-final (the slot can still be corrected), already-erased.
        """
        _require_right(ctx, network)
        if device and identity.device_of(ctx, device).network != network:
            raise ContractError("unknown-device", f"{network} has no device {device}")
        span = market_products.span(ctx)
        if span is None or last_slot < 0 or not market_products.is_final(ctx, last_slot):
            raise ContractError("not-final", f"slot {last_slot} is not FINAL")
        known = pruned.erased_of(ctx, network, device) or Erased(-1, span[0], 0, pruned.NO_ENTRIES, 0)
        first = max(known.asked + 1, span[0])
        if last_slot < first:
            raise ContractError("already-erased", f"{device or network} is erased up to slot {known.asked}")
        due = known.due or ctx.time
        pruned.put_erased(ctx, network, device, known._replace(asked=last_slot, due=due))
        _queue(ctx, due, network, device)
        ctx.emit(ASKED, _told(network, device), (first, last_slot))
        return first, last_slot

    @query(of=_of_erased)
    def erased(self, ctx: Context, *, network: str, device: str = "") -> Value:
        """What is erased of a network or of one of its devices, the fields of ``pruned.Erased``; None if nobody asked.

        Raises ContractError: unknown-network, unknown-device.
        """
        identity.network_of(ctx, network)
        if device and identity.device_of(ctx, device).network != network:
            raise ContractError("unknown-device", f"{network} has no device {device}")
        erased = pruned.erased_of(ctx, network, device)
        return None if erased is None else tuple(erased)


def _require_right(ctx: Context, network: str) -> None:
    found = identity.network_of(ctx, network)
    keys = {"owner": (found.owner_key,), "member": (roles.member_of(ctx, found.member).key,)}
    if not roles.has_right(ctx, "erase", keys):
        raise ContractError("wrong-key", f"not the key of the owner of {network}, nor of its member")


def _due(key: bytes) -> int:
    return int.from_bytes(key[len(_QUEUE) : len(_QUEUE) + 8], "big")


def _queue(ctx: Context, due: int, network: str, device: str) -> None:
    ctx.put(_QUEUE + uint(due) + text(network) + text(device), (network, device))


def _told(network: str, device: str) -> tuple[str, ...]:
    return (network, device) if device else (network,)


def _go_on(ctx: Context, network: str, device: str, work: int) -> int:
    """Go on with one request, about ``work`` entries; how many it was. One that fails is given up, and told of."""
    done: list[int] = []
    failure = ctx.attempt(lambda: done.append(_erase(ctx, network, device, work)))
    if failure is not None:
        ctx.emit("erasure-failed", _told(network, device), failure.code)
        return WORK_PER_BLOCK
    return done[0]


def _erase(ctx: Context, network: str, device: str, work: int) -> int:
    erased, left = cast("Erased", pruned.erased_of(ctx, network, device)), work
    due = ctx.time
    while left > 0 and erased.first_kept <= erased.asked:
        slot = erased.first_kept
        if market_retention.is_needed(ctx, slot) or not market_retention.is_history_over(ctx, slot):
            due = ctx.time + _AGAIN_S
            left -= 1
            break
        before = erased.entries
        erased, is_all = _erase_slot(ctx, network, device, erased, left)
        left -= 1 + erased.entries - before
        if is_all:
            erased = erased._replace(first_kept=slot + 1)
    is_done = erased.first_kept > erased.asked
    pruned.put_erased(ctx, network, device, erased._replace(due=0 if is_done else due))
    if is_done:
        ctx.emit(ERASED, _told(network, device), (erased.asked, erased.entries))
    else:
        _queue(ctx, due, network, device)
    return work - left if due == ctx.time else work


def _erase_slot(ctx: Context, network: str, device: str, erased: Erased, work: int) -> tuple[Erased, bool]:
    """Delete what lies in one slot, as far as the work goes; whether that was all."""
    keys = list(_keys(ctx, network, device, erased.first_kept, work))
    entries, digest = erased.entries, erased.digest
    for key in keys:
        encoded = ctx.encoded(key)
        if encoded is not None:
            digest = pruned.chained(digest if entries else pruned.beginning(ctx), key, encoded)
            entries += 1
            ctx.delete(key)
    return erased._replace(entries=entries, digest=digest), len(keys) < work


def _keys(ctx: Context, network: str, device: str, slot: int, most: int) -> Iterator[bytes]:
    """Where it lies: all of the readings, which are found by the newest, and of the rest at most ``most``."""
    for each in (device,) if device else identity.devices_of(ctx, network):
        yield from market_retention.reading_keys(ctx, each, slot)
    if not device:
        count = 0
        for table in NETWORK_TABLES:
            for key, _ in ctx.scan(table + text(network) + uint(slot)):
                if count >= most:
                    return
                count += 1
                yield key
