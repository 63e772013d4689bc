"""What is wrong with a policy in itself: values outside their bounds, and terms that contradict one another.

The chain refuses a policy for the first of these (``bad-policy``, details: number of the fault, index of the device's
row or -1); the owner's tools show all of them, before anything is signed. The numbers are those of ``FAULTS``.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from chaincode.budget_policy import (
    BY_HAND,
    DEVICE,
    FIXED,
    FORECAST,
    HISTORY,
    MAX_RANK,
    PERMILLE,
    POOL,
    REDEEM,
    RETURN,
    SELL,
    Donor,
    Policy,
    Row,
)
from chaincode.contract import MAX_AMOUNT, ContractError

MAX_CARRIES: Final = 1_000

FAULTS: Final[dict[str, str]] = {
    "unknown-proceeds": f'proceeds go to the "{POOL}" or to the "{DEVICE}"',
    "unknown-excess": f'what is left at the end is for "{RETURN}", "{REDEEM}" or "{SELL}"',
    "unknown-rule": f'allocation is "{BY_HAND}", "{FIXED}", "{HISTORY}" or "{FORECAST}"',
    "out-of-range": f"amounts are 0 to 2^63-1, a rank 0 to {MAX_RANK}, a share 0 to {PERMILLE} thousandths, and tokens "
    f"are carried 0 to {MAX_CARRIES} times",
    "sale-without-agreement": "what is left is to be sold, but no agreement says to whom",
    "agreement-without-sale": "an agreement of sale is named, but what is left is not to be sold",
    "nothing-left": "everything is carried over for ever, so nothing is ever left to be redeemed or sold",
    "nothing-carried": "tokens are to be carried a number of times, but none is carried at all",
    "nothing-fixed": "allocation is by fixed amounts, but no device has an amount or a share",
    "not-fixed": "a device has a fixed amount or share, but allocation is by another rule",
    "amount-and-share": "a device has either a fixed amount or a share",
    "shares-above-whole": f"shares sum to more than {PERMILLE} thousandths",
    "amount-above-limit": "a device's fixed amount is above the most that it may be given",
    "floor-above-limit": "a device is to keep more than the most that it may be given",
    "floor-without-giving": "a device never gives, so it has no floor to keep when it does",
    "device-twice": "a device is named twice",
}
"""By name; the position is the number that the chain's refusal has."""
NAMES: Final = tuple(FAULTS)


class Fault(NamedTuple):
    """``name``: of FAULTS; ``row``: the index of the device's row that it is about, -1 for the network's own terms;
    ``field``: of Policy or Donor.
    """

    name: str
    row: int
    field: str


def faults_of(policy: Policy, rows: Sequence[Row]) -> list[Fault]:
    """All that is wrong with a policy, the network's own terms first, then device by device."""
    return [*_of_network(policy, rows), *_of_devices(policy, rows)]


def require_none(policy: Policy, rows: Sequence[Row]) -> None:
    """Raises ContractError("bad-policy") for the first fault."""
    faults = faults_of(policy, rows)
    if faults:
        name, row, _ = faults[0]
        whose = f"{rows[row][0]}: " if row >= 0 else ""
        raise ContractError("bad-policy", whose + FAULTS[name], (NAMES.index(name), row))


def _of_network(policy: Policy, rows: Sequence[Row]) -> Iterator[Fault]:
    for field, value, allowed in (
        ("proceeds", policy.proceeds, (POOL, DEVICE)),
        ("excess", policy.excess, (RETURN, REDEEM, SELL)),
        ("allocation", policy.allocation, (BY_HAND, FIXED, HISTORY, FORECAST)),
    ):
        if value not in allowed:
            yield Fault("unknown-rule" if field == "allocation" else f"unknown-{field}", -1, field)
    for field, number, most in (
        ("pool_floor", policy.pool_floor, MAX_AMOUNT),
        ("carry_cap", policy.carry_cap, MAX_AMOUNT),
        ("carry_periods", policy.carry_periods, MAX_CARRIES),
        ("sale", policy.sale, MAX_AMOUNT),
    ):
        if not 0 <= number <= most:
            yield Fault("out-of-range", -1, field)
    if policy.excess == SELL and not policy.sale:
        yield Fault("sale-without-agreement", -1, "excess")
    if policy.excess != SELL and policy.sale:
        yield Fault("agreement-without-sale", -1, "sale")
    if policy.excess in (SELL, REDEEM) and policy.carry_cap == MAX_AMOUNT and not policy.carry_periods:
        yield Fault("nothing-left", -1, "excess")
    if policy.carry_periods and not policy.carry_cap:
        yield Fault("nothing-carried", -1, "carry_periods")
    if policy.allocation == FIXED and not any(row[5] or row[6] for row in rows):
        yield Fault("nothing-fixed", -1, "allocation")


def _of_devices(policy: Policy, rows: Sequence[Row]) -> Iterator[Fault]:
    named: dict[str, None] = {}
    shares = 0
    for index, (device, *terms) in enumerate(rows):
        donor = Donor(*terms)  # type: ignore[arg-type]
        if device in named:
            yield Fault("device-twice", index, "device")
        named[device] = None
        yield from _of_device(policy, donor, index)
        if shares <= PERMILLE < shares + donor.share:
            yield Fault("shares-above-whole", index, "share")
        shares += donor.share


def _of_device(policy: Policy, donor: Donor, index: int) -> Iterator[Fault]:
    limit = MAX_AMOUNT if donor.limit is None else donor.limit
    for field, number, most in (
        ("rank", donor.rank, MAX_RANK),
        ("floor", donor.floor, MAX_AMOUNT),
        ("limit", limit, MAX_AMOUNT),
        ("amount", donor.amount, MAX_AMOUNT),
        ("share", donor.share, PERMILLE),
    ):
        if not 0 <= number <= most:
            yield Fault("out-of-range", index, field)
    if policy.allocation != FIXED and (donor.amount or donor.share):
        yield Fault("not-fixed", index, "amount" if donor.amount else "share")
    if donor.amount and donor.share:
        yield Fault("amount-and-share", index, "share")
    if donor.amount > limit:
        yield Fault("amount-above-limit", index, "amount")
    if donor.floor > limit:
        yield Fault("floor-above-limit", index, "floor")
    if donor.floor and not donor.gives:
        yield Fault("floor-without-giving", index, "floor")
