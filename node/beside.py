"""A step beside the event loop that nobody may leave half done."""

import asyncio
from collections.abc import Callable


async def to_its_end(step: Callable[[], None]) -> None:
    """Run ``step`` in a thread. Who is cancelled meanwhile waits for it: what it works on would be closed, or cleared
    away, under it. Raises what it raises."""
    work = asyncio.ensure_future(asyncio.to_thread(step))
    try:
        await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.gather(work, return_exceptions=True)
        raise
