"""How many random cases a test tries: as many as it says, or ``WATT_EXAMPLES`` times as many (``make random``)."""

import os
from typing import Final

TIMES: Final = int(os.environ.get("WATT_EXAMPLES", "1"))


def examples(count: int) -> int:
    """``count`` in `make test`, a multiple of it at length."""
    return count * TIMES
