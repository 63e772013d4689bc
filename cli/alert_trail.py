"""What an alert rests on, step by step: the shares, orders, readings and entries behind it, each with its block."""

from typing import Any, Final, NamedTuple

from chaincode.budget_alerts import AHEAD, BORROWED, BORROWED_OFTEN, SHARE
from chaincode.contract import ContractError
from cli.alert_words import charge_of, why_words
from cli.answers import HIDDEN, ORDER, Reader, record
from cli.answers import SHARE as SHARE_FIELDS
from cli.statement_facts import Slot, gather_slots
from node.errors import RefusedError

_GONE: Final = HIDDEN.union(("unknown-order", "unknown-slot", "no-product", "pruned"))
MOST_SHARES: Final = 500


class Step(NamedTuple):
    """One thing behind an alert. ``what``: "share", or why an entry of settlement was booked; ``slot``: of delivery, -1
    if nobody knows it any more; ``amount``: base units paid by others, or that it cost; ``energy_wh``: 0 for a share;
    ``by``: who gave, or the bus; ``rule``: of a share; ``reference``: the order, reading or what a share served;
    ``height``: the block; ``returned``: base units of a share that came back unspent; ``note``: what else is known.
    """

    what: str
    slot: int
    amount: int
    energy_wh: int
    by: str
    rule: str
    reference: bytes
    height: int
    returned: int
    note: str


class Trail(NamedTuple):
    """All ``steps``; ``deleted``: slots of which the details are gone; ``complete``: whether the steps add up to what
    the alert says; deleted slots may have cost nothing.
    """

    steps: tuple[Step, ...]
    deleted: tuple[int, ...]
    complete: bool


async def trail_of(read: Reader, network: str, alert: dict[str, Any]) -> Trail:
    """Everything behind an alert. Raises RefusedError("bad-answer")."""
    if alert["cause"] in (BORROWED, BORROWED_OFTEN):
        steps: list[Step] = []
        for proof in alert["evidence"]:
            steps += await _shares(read, network, alert, proof)
        return Trail(tuple(steps), (), True)
    numbers = [proof["number"] for proof in alert["evidence"]]
    first, end = min(numbers), max(numbers) + 1
    if alert["cause"] == AHEAD:
        args = {"network": network, "slot": first}
        first = record(await read("budget", "period", args), ("period", "first", "end", "status"))["first"]
        end = first + alert["figures"][2]
    slots = await gather_slots(read, network, first, end)
    chosen = [slots[slot] for slot in sorted(slots) if alert["cause"] == AHEAD or slot in numbers]
    steps = [step for slot in chosen for step in _entries(slot, alert["device"], alert["height"])]
    deleted = tuple([slot.slot for slot in chosen if slot.note == "pruned"])
    is_complete = (
        sum([step.amount for step in steps]) == alert["figures"][0] if alert["cause"] == AHEAD else not deleted
    )
    return Trail(tuple(steps), deleted, is_complete)


def _entries(slot: Slot, device: str, height: int) -> list[Step]:
    """What a settled slot cost a device, entry by entry, as was known in block ``height``; a reversal has both amount
    and energy turned round.
    """
    steps = []
    for entry in slot.entries:
        block = slot.blocks[entry.revision] if entry.revision < len(slot.blocks) else 0
        is_cost = entry.amount < 0 if entry.energy_wh >= 0 else entry.amount > 0
        if entry.device == device and is_cost and block <= height:
            note = f"revision {entry.revision}" if entry.revision else ""
            energy = -entry.amount, entry.energy_wh
            steps.append(Step(entry.reason, slot.slot, *energy, entry.bus, "", entry.cause, block, 0, note))
    return steps


async def _shares(read: Reader, network: str, alert: dict[str, Any], proof: dict[str, Any]) -> list[Step]:
    """All that others gave at the time of one share: the list goes on with those for the same thing."""
    args = {"network": network, "period": alert["period"]}
    first = record(await read("overview", "share", {**args, "number": proof["number"]}), SHARE_FIELDS)
    steps, number, row = [], proof["number"], first
    slot, note = await _served(read, first["reference"])
    while True:
        if row["receiver"] == alert["device"] and row["reference"] == first["reference"]:
            words = ", ".join(each for each in (why_words(row["why"]), note) if each)
            given = row["amount"], 0, row["giver"], row["rule"], row["reference"] or row["tx_id"]
            steps.append(Step(SHARE, slot, *given, proof["height"], row["returned"], words))
        number += 1
        try:
            row = record(await read("overview", "share", {**args, "number": number}), SHARE_FIELDS)
        except (RefusedError, ContractError) as refusal:
            if refusal.code != "unknown-share":
                raise
            return steps
        if row["tx_id"] != first["tx_id"] or len(steps) >= MOST_SHARES:
            return steps


async def _served(read: Reader, reference: bytes) -> tuple[int, str]:
    """The slot of the order or charge that a share served, and what it was; -1 and nothing, if that is gone."""
    if len(reference) != 32:
        charge = charge_of(reference)
        return (-1, "") if charge is None else (charge[1], f"{charge[0]} its slot")
    try:
        order = record(await read("market", "order", {"order": reference}), ORDER)
    except (RefusedError, ContractError) as refusal:
        if refusal.code not in _GONE:
            raise
        return -1, ""
    return order["slot"], f"order to {order['side']} {order['energy_wh']} Wh at bus {order['bus']}, {order['state']}"
