"""How a client waits for a node that has no room now: as long as it is told, a little more by chance, and not for ever.

The chance keeps those who were refused together from coming back together.
"""

import asyncio
import secrets
from typing import Final

from node.gateway.codes import RETRY_MS, NotNowError

JITTER_PERCENT: Final = 25
LEAST_MS: Final = 10
COME_AGAIN: Final = frozenset(RETRY_MS)
"""Codes of refusals that pass: what was refused may be sent again as it is."""


class Patience:
    """For one request and all its repetitions; ``seconds``: how long it waits altogether."""

    def __init__(self, seconds: float) -> None:
        self._left_ms = 1000 * seconds

    async def wait(self, error: NotNowError) -> None:
        """Wait as ``error`` says. Raises it if that is longer than there is patience for."""
        if not await self.wait_ms(error.retry_ms):
            raise error

    async def wait_ms(self, retry_ms: int) -> bool:
        """Wait so long, and some; False, at once, if there is not so much patience left."""
        least_ms = max(LEAST_MS, retry_ms)
        wait_ms = least_ms + least_ms * secrets.randbelow(JITTER_PERCENT + 1) // 100
        if wait_ms > self._left_ms:
            return False
        self._left_ms -= wait_ms
        await asyncio.sleep(wait_ms / 1000)
        return True
