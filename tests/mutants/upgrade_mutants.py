"""Mistakes about which code a block is executed by."""

from typing import Final

from tests.mutants.mutant import Mutant

UPGRADE_MUTANTS: Final = (
    Mutant(
        "upgrade-one-block-late",
        "an upgrade is in force from its height on",
        "node/executor.py",
        "height < coming.first_height",
        "height <= coming.first_height",
    ),
    Mutant(
        "upgrade-when-installed",
        "an upgrade that is installed changes nothing before its height",
        "node/executor.py",
        "if coming is None or height < coming.first_height:",
        "if coming is None or (height < coming.first_height and not registry.find(coming.digest)):",
    ),
    Mutant(
        "upgrade-not-needed",
        "who has not got the code of a block does not execute it",
        "node/executor.py",
        'raise _missing(coming.name, coming.digest, f"it becomes active in block {coming.first_height}")',
        "return registry, None",
    ),
    Mutant(
        "upgrade-from-the-hooks-of-the-next-block",
        "the rest of the block in which an upgrade takes effect is executed by its code",
        "node/executor.py",
        "            self._registry = self._registry.at(self._overlay.get)\n",
        "",
    ),
    Mutant(
        "newest-code-for-old-blocks",
        "old blocks are executed again by the code of their heights",
        "chaincode/registry.py",
        """        if not rows:
            return self._first
""",
        """        if not rows:
            return next(reversed(self._first._later.values()), self._first)
""",
    ),
)
