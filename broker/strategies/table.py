"""Which strategies there are: every other file of this directory. A new one is a new file with a function `wishes`."""

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Final, TypeAlias, cast

from broker.view import SlotView, Wish
from node.errors import ConfigError

Strategy: TypeAlias = Callable[[SlotView], tuple[Wish, ...]]


def _found() -> dict[str, Strategy]:
    here = Path(__file__)
    names = sorted(path.stem for path in here.parent.glob("*.py") if path != here and path.stem != "__init__")
    return {name: cast("Strategy", wishes_of(import_module(f"broker.strategies.{name}"))) for name in names}


def wishes_of(module: ModuleType) -> object:
    """A strategy's function. Raises ConfigError("bad-strategy") if the file has none, as one just begun."""
    function = getattr(module, "wishes", None)
    if not callable(function):
        raise ConfigError("bad-strategy", f"{module.__file__} has no function `wishes`")
    return function


STRATEGIES: Final[Mapping[str, Strategy]] = MappingProxyType(_found())
"""By name."""
