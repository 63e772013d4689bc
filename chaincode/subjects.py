"""Whose data a query answers with: what stands beside each of them, ``@query(of=a_device(BUDGET))``.

An *audience* is a function of a query's arguments that names the *subjects* of its answer; whoever may read one of
them gets the answer (``access.py`` knows who may). ``public`` is for everybody; ``closed``, and no declaration at all,
for those who may see everything. It runs before the query and is no part of it: an unknown name is of nobody, and is
refused to strangers as any other name is, so that nobody learns by asking what there is.

Data come in classes, which grants name one by one:

    registry   names, keys, devices, where they hang, and the calendar of periods
    market     orders, trades, positions
    budget     balances, shares, alerts, agreements, requests, sales, supply
    readings   readings, settlement, origins, statements
    grants     who may read; never granted
"""

from typing import Any, Final

from chaincode.contract import Context, ContractError, Of, Subject

REGISTRY: Final = "registry"
MARKET: Final = "market"
BUDGET: Final = "budget"
READINGS: Final = "readings"
GRANTS: Final = "grants"
CLASSES: Final = (REGISTRY, MARKET, BUDGET, READINGS)
"""Those that can be granted."""

DEVICE: Final = "device"
NETWORK: Final = "network"
MEMBER: Final = "member"
HOLDERS: Final = (DEVICE, NETWORK, MEMBER)
"""The kinds of subjects that have a name of their own, and can be shared."""
ROLE: Final = "role"
"""The member that has a role of which there is one."""
KEY: Final = "key"
"""Whoever holds the key, whose name is its hex."""
CONSORTIUM: Final = "consortium"
"""Lists of all: its registry is its admins' to see."""
EVERYBODY: Final = Subject("everybody", "", "")


def public(ctx: Context, args: dict[str, Any]) -> tuple[Subject, ...]:
    """The audience of what is said to all."""
    return (EVERYBODY,)


def closed(ctx: Context, args: dict[str, Any]) -> tuple[Subject, ...]:
    """The audience of what only those see who see everything."""
    return ()


def a_device(data: str, argument: str = "device") -> Of:
    """The device that ``argument`` names."""
    return lambda ctx, args: (Subject(DEVICE, args[argument], data),)


def a_network(data: str, argument: str = "network") -> Of:
    """The network that ``argument`` names."""
    return lambda ctx, args: (Subject(NETWORK, args[argument], data),)


def a_company(data: str, argument: str = "member") -> Of:
    """The company that ``argument`` names."""
    return lambda ctx, args: (Subject(MEMBER, args[argument], data),)


def a_role(name: str, data: str) -> Of:
    """The member with the role ``name``."""
    return lambda ctx, args: (Subject(ROLE, name, data),)


def the_consortium(data: str) -> Of:
    """Lists over all members."""
    return lambda ctx, args: (Subject(CONSORTIUM, "", data),)


def found(ctx: Context, of: Of, args: dict[str, Any]) -> tuple[Subject, ...]:
    """The subjects that an audience names; none for what does not exist."""
    try:
        return of(ctx, args)
    except ContractError:
        return ()
