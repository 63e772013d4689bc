"""What a network's owner has decided: where proceeds go, and which device gives to others, in which order.

State: ``bud-policy/`` network -> Policy; ``bud-donor/`` device -> Donor.
"""

from typing import Final, NamedTuple, cast

from chaincode import identity
from chaincode.contract import MAX_AMOUNT, Context, ContractError

MAX_RANK: Final = 1_000
DEFAULT_RANK: Final = 100

POOL: Final = "pool"
DEVICE: Final = "device"
RETURN: Final = "return"
REDEEM: Final = "redeem"
SELL: Final = "sell"

_POLICIES: Final = b"bud-policy/"
_DONORS: Final = b"bud-donor/"


class Policy(NamedTuple):
    """What the owner of a network has decided. Amounts in base units.

    ``proceeds``: who gets what a device earns, POOL or DEVICE. ``pool_helps``: whether the pool tops up a device whose
    order nobody else can cover. ``pool_floor``: what the pool keeps when it does, and when it shares with another
    network. At the close of a period at most ``carry_cap`` is carried over into the next; a token is carried at most
    ``carry_periods`` times (0: for ever). What is left then is ``excess``: RETURN to the utility, REDEEM at its price,
    or SELL under the agreement ``sale``.
    """

    proceeds: str = POOL
    pool_helps: bool = False
    pool_floor: int = 0
    carry_cap: int = MAX_AMOUNT
    carry_periods: int = 0
    excess: str = RETURN
    sale: int = 0


class Donor(NamedTuple):
    """How a device gives in automatic shares. ``rank``: the smaller is asked first; ``floor``: what it keeps in any
    case, base units; ``gives``: False if it is never asked.
    """

    rank: int = DEFAULT_RANK
    floor: int = 0
    gives: bool = True


def policy_of(ctx: Context, network: str) -> Policy:
    """The policy of ``network``."""
    value = ctx.get(_POLICIES + network.encode())
    return Policy() if value is None else Policy(*cast("Policy", value))


def earns_itself(ctx: Context, network: str) -> bool:
    """Whether proceeds go to the selling device instead of the pool."""
    return policy_of(ctx, network).proceeds == DEVICE


def donor_of(ctx: Context, device: str) -> Donor:
    """How ``device`` gives."""
    value = ctx.get(_DONORS + device.encode())
    return Donor() if value is None else Donor(*cast("Donor", value))


def set_policy(ctx: Context, network: str, proceeds: str, donors: tuple[tuple[str, int, int, bool], ...]) -> None:
    """``proceeds``: "pool" or "device"; ``donors``: (device, rank, floor, gives), others stay as they are.

    Raises ContractError: bad-policy, unknown-device, other-network.
    """
    if proceeds not in ("pool", "device"):
        raise ContractError("bad-policy", 'proceeds go to the "pool" or to the "device"')
    ctx.put(_POLICIES + network.encode(), tuple(policy_of(ctx, network)._replace(proceeds=proceeds)))
    for device, rank, floor, gives in donors:
        require_in_network(ctx, device, network)
        if not 0 <= rank <= MAX_RANK or not 0 <= floor <= MAX_AMOUNT:
            raise ContractError("bad-policy", f"{device}: rank 0 to {MAX_RANK}, floor 0 to 2^63-1")
        ctx.put(_DONORS + device.encode(), (rank, floor, gives))
    ctx.emit("policy-set", (network,), (proceeds, donors))


def require_in_network(ctx: Context, device: str, network: str) -> None:
    """Raises ContractError: unknown-device, other-network."""
    if identity.device_of(ctx, device).network != network:
        raise ContractError("other-network", f"{device} is no device of {network}")
