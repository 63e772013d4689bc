"""The class of a network: what kind of consumer its owner's company says it is, such as "hvac" or "refrigeration".

Agreements may be for networks of one class only. A network that nobody has classified is of no class, and of the same
class as nobody.

State: ``net-class/`` network -> class.
"""

from typing import Final, cast

from chaincode.contract import Context

NONE: Final = ""
"""The class of a network that has none."""

_CLASSES: Final = b"net-class/"


def class_of(ctx: Context, network: str) -> str:
    """The class of ``network``; NONE if it has none."""
    return cast("str | None", ctx.get(_CLASSES + network.encode())) or NONE


def put_class(ctx: Context, network: str, name: str) -> None:
    """``network`` is of the class ``name`` from now on; NONE: of none."""
    if name == NONE:
        ctx.delete(_CLASSES + network.encode())
    else:
        ctx.put(_CLASSES + network.encode(), name)


def are_alike(ctx: Context, one: str, other: str) -> bool:
    """Whether two networks are of one class."""
    found = class_of(ctx, one)
    return found != NONE and found == class_of(ctx, other)
