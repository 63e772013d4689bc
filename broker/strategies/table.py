"""Which strategies there are: every other file of this directory. A new one is a new file with a function `wishes`."""

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeAlias, cast

from broker.view import SlotView, Wish

Strategy: TypeAlias = Callable[[SlotView], tuple[Wish, ...]]


def _found() -> dict[str, Strategy]:
    here = Path(__file__)
    names = sorted(path.stem for path in here.parent.glob("*.py") if path != here and path.stem != "__init__")
    return {name: cast("Strategy", import_module(f"broker.strategies.{name}").wishes) for name in names}


STRATEGIES: Final[Mapping[str, Strategy]] = MappingProxyType(_found())
"""By name."""
