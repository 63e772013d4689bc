"""What an alert says, in people's words and units."""

from collections.abc import Mapping
from typing import Any, Final

from chaincode.budget_alerts import ABOVE_FORECAST, AHEAD, BORROWED, BORROWED_OFTEN, CORRECTION, ESTIMATE, ESTIMATED
from chaincode.budget_share import BY_HAND, GRANT, ORDER, OTHER, POOL
from cli.output import tokens
from cli.slots import slot_words
from cli.units import kwh
from node.errors import RefusedError

SLOT_KINDS: Final = {"slot": "reading", ESTIMATE: "estimate", CORRECTION: "correction"}
_FIGURES: Final = {AHEAD: 5, BORROWED: 1, BORROWED_OFTEN: 1, ABOVE_FORECAST: 3, ESTIMATED: 2}


def cause_of(alert: Mapping[str, Any], symbol: str, decimals: int) -> str:
    """Why it was raised, in one line. Raises RefusedError("bad-answer") for figures that its cause does not have."""
    figures, cause = alert["figures"], alert["cause"]
    if cause not in _FIGURES:
        return str(cause)
    if (
        not isinstance(figures, tuple)
        or len(figures) != _FIGURES[cause]
        or any(type(each) is not int for each in figures)
    ):
        raise RefusedError("bad-answer", f"an alert {cause!r} with such figures: another version?")
    money = [f"{tokens(each, decimals)} {symbol}" for each in figures]
    if cause == AHEAD:
        return f"used {money[0]} of {money[1]} when {_percent(figures[2], figures[3])} of the period was over"
    if cause == BORROWED:
        return f"others paid for it: {money[0]} at first"
    if cause == BORROWED_OFTEN:
        return f"others paid for it {figures[0]} times"
    if cause == ABOVE_FORECAST:
        return f"{figures[0]} slots in a row above its forecast of {money[1]}"
    return f"no reading: a slot estimated at {kwh(figures[1])} kWh, {money[0]}"


def proof_line(proof: Mapping[str, Any], slot_seconds: int) -> str:
    """One thing that an alert rests on: what it is, with its block and an id that leads to it."""
    found = reference_shown(proof["reference"], slot_seconds)
    where = f"block {proof['height']}, {found if isinstance(found, str) else found.hex()[:12]}"
    if proof["kind"] in SLOT_KINDS:
        return f"{SLOT_KINDS[proof['kind']]} of {slot_words(proof['number'], slot_seconds)}: {where}"
    return f"share {proof['number']}: {where}"


def charge_of(reference: bytes) -> tuple[str, int] | None:
    """("settle" or "correct", the slot) of what settlement calls its charges; None for an id."""
    kind, _, slot = reference.partition(b" ")
    return (kind.decode(), int.from_bytes(slot, "big")) if kind in (b"settle", b"correct") and len(slot) == 8 else None


def reference_shown(reference: bytes, slot_seconds: int) -> str | bytes:
    """An id as it is; the charges of a slot in words, since they have none."""
    charge = charge_of(reference)
    if charge is None:
        return reference
    what = "settlement" if charge[0] == "settle" else "correction"
    return f"{what} of {slot_words(charge[1], slot_seconds)}"


def giver_name(giver: str) -> str:
    """Who gave, as people say it."""
    if giver == POOL:
        return "the pool"
    if giver == "*":
        return "several others"
    return f"network {giver.removeprefix(OTHER)}" if giver.startswith(OTHER) else giver


def why_words(why: str) -> str:
    """What a share was for."""
    known = {
        ORDER: "for an order",
        BY_HAND: "by hand",
        GRANT: "granted on request",
        "retail": "for energy from the utility",
    }
    known |= {"internal": "for energy of a neighbour device", CORRECTION: "for a corrected reading"}
    return known.get(why, why)


def _percent(part: int, whole: int) -> str:
    return f"{(200 * part + whole) // (2 * whole) if whole else 0} %"
