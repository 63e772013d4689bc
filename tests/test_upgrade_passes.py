"""What a migration computes is bounded at the same place everywhere, whatever it does to go on."""

from pathlib import Path
from typing import cast

import pytest

from chaincode.contract import Context, ContractError
from node.errors import RefusedError
from node.upgrades import bundle, counted
from node.upgrades.bundle import load, read_bundle
from tests import bundles

LIMIT = 20_000
HEAD = bundles.TALLY[: bundles.TALLY.index("def migrate")]
ENDLESS = {
    "a loop": """
    while True:
        pass
""",
    "a loop that is in the way of its end": """
    while True:
        try:
            while True:
                pass
        except ContractError:
            continue
        finally:
            for _ in (1, 2):
                pass
""",
    "a generator": """
    return sum(1 for _ in itertools.count())
""",
    "a comprehension within another": """
    return [left for left in range(10**9) for right in range(10**9) if right < 0]
""",
    "a small function, asked without end": """
    return max(map(lambda each: each + 1, itertools.count()))
""",
    "one call of Python's own": """
    return sum(itertools.repeat(1))
""",
    "one call, by another name": """
    from itertools import cycle as round_and_round
    return 2 in round_and_round((0, 1))
""",
    "a call until an answer that does not come": """
    return max(iter(int, 1))
""",
    "an order that is asked for": """
    return sorted(range(LONG), key=limits.rank)
""",
}
LIMITS = bundles.LIMITS + "\n\ndef rank(item: int) -> int:\n    return -item\n"


def migrated(place: Path, text: str, helpers: str = LIMITS) -> object:
    """What comes of a migration of these lines."""
    body = (
        HEAD.replace("from . import limits", "import itertools\nfrom . import limits")
        + "def migrate(ctx: Context) -> object:\n"
    )
    loaded = load(
        read_bundle(bundles.write(place, upgrade__py=body + text.replace("LONG", str(10 * LIMIT)), limits__py=helpers))
    )
    return loaded.migrate(cast("Context", None))


@pytest.mark.parametrize("text", ENDLESS.values(), ids=ENDLESS)
def test_what_has_no_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(counted, "MIGRATION_PASSES", LIMIT)
    with pytest.raises(ContractError) as ended:
        migrated(tmp_path, text)
    assert ended.value.code == "step-limit"


def test_calls_that_double_are_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixty functions, each of which calls the one before twice: no loop, no recursion, and no end."""
    monkeypatch.setattr(counted, "MIGRATION_PASSES", LIMIT)
    chain = "".join(f"\n\ndef f{n}() -> int:\n    return f{n - 1}() + f{n - 1}()\n" for n in range(1, 60))
    with pytest.raises(ContractError, match="step-limit"):
        migrated(tmp_path, "    return limits.f59()\n", LIMITS + "\n\ndef f0() -> int:\n    return 1\n" + chain)


def test_how_much_is_done_hangs_on_nothing_but_the_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The call itself, 10 passes, 10 items, of which 5 call a function: the 26th would be one too many."""
    text = """
    total = 0
    for number in range(10):
        total += number
    return total + sum([limits.rank(each) for each in range(10) if each % 2])
"""
    monkeypatch.setattr(counted, "MIGRATION_PASSES", 26)
    assert [migrated(tmp_path, text) for _ in range(3)] == [20] * 3, "each time anew"
    monkeypatch.setattr(counted, "MIGRATION_PASSES", 25)
    with pytest.raises(ContractError, match="step-limit"):
        migrated(tmp_path, text)


def test_a_module_without_an_end_is_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "LOADING_PASSES", LIMIT)
    with pytest.raises(RefusedError, match="it does not load: ContractError: step-limit"):
        migrated(tmp_path, "    return 0\n", LIMITS + "\nWHAT = sum(1 for _ in range(10**12))\n")


def test_contracts_run_as_they_were_written(tmp_path: Path) -> None:
    """Only the migration runs from the counted copy: a contract pays nothing for it."""
    loaded = load(read_bundle(bundles.write(tmp_path)))
    for contract in loaded.contracts:
        names = {
            name
            for method in vars(type(contract)).values()
            for name in getattr(getattr(method, "__code__", None), "co_names", ())
        }
        assert names and counted.NAME not in names
