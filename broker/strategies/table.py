"""Which strategies there are: every other file of this directory. A new one is a new file with a function `wishes`.

Who writes one may be wrong, so what each answers is looked at before anything is ordered: a mistake is refused as
`bad-strategy`, with the file and what was wrong, and never becomes an order.
"""

import traceback
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Final, TypeAlias

from broker.view import SlotView, Wish
from node.errors import ConfigError

Strategy: TypeAlias = Callable[[SlotView], tuple[Wish, ...]]

MOST: Final = 2**63
"""Energy and prices are below it, as all whole numbers on the ledger."""


def _found() -> dict[str, Strategy]:
    here = Path(__file__)
    names = sorted(path.stem for path in here.parent.glob("*.py") if path != here and path.stem != "__init__")
    return {name: strategy_of(_loaded(here.with_name(f"{name}.py"))) for name in names}


def _loaded(path: Path) -> ModuleType:
    try:
        return import_module(f"broker.strategies.{path.stem}")
    except Exception as error:  # as one that does not parse, or imports what is not there
        words = " ".join(f"{type(error).__name__}: {error}".split())
        raise ConfigError("bad-strategy", f"{path} cannot be loaded: {words}") from error


def strategy_of(module: ModuleType) -> Strategy:
    """A file's strategy, which raises ConfigError("bad-strategy") if the file's function raises anything, or answers
    what is no tuple of wishes for the view. Raises the same if the file has no function, as one just begun."""
    function = getattr(module, "wishes", None)
    file = str(module.__file__)
    if not callable(function):
        raise ConfigError("bad-strategy", f"{file} has no function `wishes`")

    def wishes(view: SlotView) -> tuple[Wish, ...]:
        try:
            found = function(view)
        except Exception as error:  # whatever a file of somebody's raises is that file's mistake
            at = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
            line = f", line {at[-1]}" if at else ""
            words = " ".join(f"{type(error).__name__}: {error}".split())
            raise ConfigError("bad-strategy", f"{file}{line}: {words}") from error
        if not isinstance(found, tuple):
            raise ConfigError("bad-strategy", f"{file}: `wishes` gave a {type(found).__name__}, not a tuple of Wish")
        for wish in found:
            if fault := _fault(view, wish):
                raise ConfigError("bad-strategy", f"{file}: {fault}")
        if len({wish.side for wish in found}) > 1:
            raise ConfigError("bad-strategy", f"{file}: wishes of one slot and bus on two sides")
        return found

    return wishes


def _fault(view: SlotView, wish: object) -> str:
    """What is wrong with a wish; empty if nothing is."""
    if not isinstance(wish, Wish):
        return f"`wishes` gave a {type(wish).__name__} in its tuple, not a Wish"
    for name, number, least in (("energy_wh", wish.energy_wh, 1), ("price", wish.price, 0)):
        if type(number) is not int:  # neither a bool nor numpy's, which no transaction can hold
            return f"a wish's {name} is {number!r}, a {type(number).__name__}: it must be an int"
        if not least <= number < MOST:
            return f"a wish's {name} is {number}: it must be at least {least} and below 2**63"
    if wish.side not in ("buy", "sell"):
        return f"a wish's side is {wish.side!r}, neither buy nor sell"
    if not isinstance(wish.device, str) or wish.device not in view.positions:
        return f"a wish's device is {wish.device!r}, which is not at {view.bus}"
    if type(wish.renewable) is not bool or type(wish.why) is not str:
        return "a wish's renewable must be a bool, and its why a str"
    return ""


STRATEGIES: Final[Mapping[str, Strategy]] = MappingProxyType(_found())
"""By name."""
