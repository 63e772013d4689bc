"""What a network's owner has decided: where proceeds go, and which device gives to others, in which order.

State: ``bud-proceeds/`` network -> True if what a device earns is the device's (absent: the pool's);
``bud-donor/`` device -> Donor.
"""

from typing import Final, NamedTuple, cast

from chaincode import identity
from chaincode.contract import MAX_AMOUNT, Context, ContractError

MAX_RANK: Final = 1_000
DEFAULT_RANK: Final = 100

_PROCEEDS: Final = b"bud-proceeds/"
_DONORS: Final = b"bud-donor/"


class Donor(NamedTuple):
    """How a device gives in automatic shares. ``rank``: the smaller is asked first; ``floor``: what it keeps in any
    case, base units; ``gives``: False if it is never asked.
    """

    rank: int = DEFAULT_RANK
    floor: int = 0
    gives: bool = True


def earns_itself(ctx: Context, network: str) -> bool:
    """Whether proceeds go to the selling device instead of the pool."""
    return ctx.get(_PROCEEDS + network.encode()) is True


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
    ctx.put(_PROCEEDS + network.encode(), proceeds == "device")
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
