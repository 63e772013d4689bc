"""An upgrade of the contract ``grid``: a new rule, a new query, and a migration that brings what the query reads.

What the contract did before it does still: this one is made of it. A contract may as well be written anew.
"""

from typing import Final, cast

from chaincode import grid
from chaincode.contract import Context, ContractError, Value, query, transaction
from chaincode.grid import LineSettings
from chaincode.subjects import public

from . import lengths

FIRST_VERSION: Final = 1


class MeasuredGrid(grid.Grid):
    """Publishing and reading the grid, whose lines have a length."""

    name = "grid"

    @transaction
    def publish(
        self, ctx: Context, *, root: str, lines: tuple[LineSettings, ...], rate: int = 0, drafted: int = 0
    ) -> Value:
        """As before. Raises ContractError: line-too-long as well."""
        number = cast("int", super().publish(ctx, root=root, lines=lines, rate=rate, drafted=drafted))
        published = _lines(self, ctx, number)
        lengths.require_short(published)
        lengths.note(ctx, number, published)
        return number

    @query(of=public)
    def metres(self, ctx: Context, *, version: int | None = None) -> Value:
        """The metres of all lines of a version, the newest if none is named. Raises ContractError: unknown-grid."""
        number = grid.current_version(ctx) if version is None else version
        found = lengths.metres(ctx, number)
        if found is None:
            raise ContractError("unknown-grid", f"the grid has no version {number}")
        return found


CONTRACTS: Final = (MeasuredGrid(),)


def migrate(ctx: Context) -> None:
    """The sums of the versions that there are. Published ones stay as they are, long lines and all."""
    for number in range(FIRST_VERSION, grid.current_version(ctx) + 1):
        lengths.note(ctx, number, _lines(CONTRACTS[0], ctx, number))


def _lines(contract: grid.Grid, ctx: Context, number: int) -> tuple[LineSettings, ...]:
    return cast("tuple[int, str, int, tuple[LineSettings, ...]]", contract.tree(ctx, version=number))[3]
