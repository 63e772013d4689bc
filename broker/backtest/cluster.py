"""Runs on a Dask cluster that is there already. Its workers need this package, in the same version."""

import re
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

from broker.backtest import work
from broker.backtest.result import Result
from broker.backtest.setup import Run
from node.errors import RefusedError

CONNECT_S: Final = 10.0
LOOK_S: Final = 1.0
"""How often it is looked whether the cluster is still there."""
PATIENCE_S: Final = 30.0
"""How long it may be without workers, or its scheduler without a word."""


def results(address: str, runs: Sequence[Run]) -> Iterator[tuple[int, Result]]:
    """(number, result) of each run as they come in.

    Raises RefusedError: "dask-unreachable" if no scheduler answers at ``address``; "dask-lost" if the cluster goes
    or is without workers for half a minute; "dask-failed" if a worker cannot do it, for want of this package say.
    """
    import distributed  # noqa: PLC0415 - takes a second, and is wanted for this alone

    if not re.search(
        r":\d{1,5}$", address
    ):  # refused by a client too, but its own clean-up then takes 20 s and fails aloud
        raise RefusedError("dask-unreachable", f"{address!r} is no address like tcp://10.0.0.5:8786")
    try:
        connect: Any = distributed.Client
        client = connect(address, timeout=CONNECT_S, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise RefusedError("dask-unreachable", f"no Dask scheduler answers at {address}: {error}") from error
    try:
        waiting = {client.submit(work.do, run, pure=False): index for index, run in enumerate(runs)}
        seen = time.monotonic()
        while waiting:
            done = [future for future in waiting if future.done()]
            for future in done:
                yield waiting.pop(future), work.opened(_outcome(address, future))
            if done or _has_workers(client):
                seen = time.monotonic()
            elif time.monotonic() > seen + PATIENCE_S:
                raise RefusedError("dask-lost", f"the cluster at {address} is gone, or has no workers any more")
            if not done:
                time.sleep(LOOK_S)
    finally:
        client.close(timeout=LOOK_S)


def _outcome(address: str, future: Any) -> Any:
    """What a future that is done came to."""
    if future.status in ("cancelled", "lost"):
        raise RefusedError("dask-lost", f"the cluster at {address} is gone")
    error = future.exception()
    if error is not None:
        raise RefusedError("dask-failed", f"a worker at {address} failed: {type(error).__name__}: {error}") from error
    return future.result()


def _has_workers(client: Any) -> bool:
    try:
        return client.status == "running" and bool(client.nthreads())
    except (OSError, TimeoutError):
        return False
