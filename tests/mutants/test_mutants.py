"""The list of mutants follows the code: `make mutants` takes an hour, this takes none."""

import pytest

from tests.mutants.mutant import Mutant
from tests.mutants.mutants import MUTANTS
from tests.mutants.run import ROOT, UNBROKEN, fault


@pytest.mark.parametrize("mutant", [*MUTANTS, UNBROKEN], ids=lambda mutant: mutant.name)
def test_every_mutant_has_its_place(mutant: Mutant) -> None:
    assert fault(mutant) is None
    assert all((ROOT / test).exists() for test in mutant.tests)


def test_no_two_mutants_are_one() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(
        {(mutant.file, mutant.new, mutant.old) for mutant in MUTANTS}
    )
    assert len({mutant.breaks for mutant in MUTANTS}) == len(MUTANTS) >= 12
