"""With whom a node counts what a key sends, so that it can share out its room among members (``node/mempool.py``).

What devices, meters and owners send counts with the member that their network is registered with: however many keys an
aggregator has, it is one of the members. A member's own key counts by itself, or a member could not lock out devices
of its that run wild while they fill all that it is given.
"""

from typing import Final

from chaincode import roles
from chaincode.contract import Context
from chaincode.identity_records import device_of, network_of

TABLES: Final = roles.STANDING
"""What the answer hangs on; which member a device or a network belongs to never changes."""


def member_behind(ctx: Context, key: bytes) -> str:
    """The member's id, followed by `` (own key)`` for its own; "" if ``key`` acts for nobody with a member."""
    use = roles.first_use(ctx, key) or roles.one_time_of(ctx, key)
    if use is None:
        return ""
    kind, name = use[:2]
    if kind == "member":
        return f"{name} (own key)"
    network = name if kind == "network" else device_of(ctx, name).network
    return network_of(ctx, network).member
