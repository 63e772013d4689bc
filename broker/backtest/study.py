"""Several runs side by side: seeds, seasons, strategies, on local processes or on a Dask cluster.

A run follows from its settings and the data alone, so it makes no difference where it is run or in which order.
"""

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from itertools import groupby
from statistics import fmean

from broker.backtest import cluster, work
from broker.backtest.figures import change_pct
from broker.backtest.result import Bills, Group, HomeBills, Result, Spread, Study
from broker.backtest.season import run_one
from broker.backtest.setup import Run
from node.errors import RefusedError


def study(
    runs: Sequence[Run],
    tell: Callable[[float], None],
    *,
    workers: int,
    dask: str | None = None,
) -> Study:
    """Do all ``runs``. ``tell`` is called with how much of them is done, 0 to 1; ``workers``: local processes at most.

    Raises ConfigError for runs that cannot be set up; RefusedError "worker-lost", and with ``dask``, the address of a
    scheduler, what ``cluster.results`` raises.
    """
    if dask is not None:
        found = cluster.results(dask, runs)
    elif len(runs) == 1 or workers == 1:
        found = _here(runs, tell)
    else:
        found = _processes(runs, workers)
    results: dict[int, Result] = {}
    for index, result in found:
        results[index] = result
        tell(len(results) / len(runs))
    return summed(runs, [results[index] for index in range(len(runs))])


def _here(runs: Sequence[Run], tell: Callable[[float], None]) -> Iterator[tuple[int, Result]]:
    for index, run in enumerate(runs):

        def part(share: float, before: int = index) -> None:
            tell((before + share) / len(runs))

        yield index, run_one(run, part)


def _processes(runs: Sequence[Run], workers: int) -> Iterator[tuple[int, Result]]:
    """A process dies with an interrupt at the terminal, and of one that only this process gets, by ``terminate``."""
    pool = ProcessPoolExecutor(
        max_workers=min(workers, len(runs)),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=signal.signal,
        initargs=(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        waiting = {pool.submit(work.do, run): index for index, run in enumerate(runs)}
        for future in as_completed(waiting):
            yield waiting[future], work.opened(future.result())
    except BrokenProcessPool as error:
        raise RefusedError(
            "worker-lost", "a process that ran a part of the study has ended; is memory short?"
        ) from error
    except BaseException:
        for child in multiprocessing.active_children():
            child.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def mean_bills(bills: Sequence[Bills]) -> Bills:
    """Field by field."""
    fields = ("utility_only", "alone", "broker", "optimum", "optimum_alone")
    return Bills(**{field: round(fmean(getattr(each, field) for each in bills), 9) for field in fields})


def summed(runs: Sequence[Run], results: Sequence[Result]) -> Study:
    """The study of ``results``, of ``runs`` in the same order."""
    chosen = [result for run, result in zip(runs, results, strict=True) if run.strategy == runs[0].strategy]
    shares = [each.share_of_perfect_foresight for each in chosen if each.share_of_perfect_foresight is not None]
    return Study(
        mean_bill_change_pct=round(fmean(each.mean_bill_change_pct for each in chosen), 3),
        worst_home_change_pct=max(each.worst_home_change_pct for each in chosen),
        share_of_perfect_foresight=round(fmean(shares), 4) if shares else None,
        homes=tuple(_home(name, chosen) for name in [home.name for home in chosen[0].homes]),
        groups=tuple(_groups(runs, results)),
        runs=tuple(results),
    )


def _home(name: str, results: Sequence[Result]) -> HomeBills:
    rows = [home for result in results for home in result.homes if home.name == name]
    bills = mean_bills([row.bills for row in rows])
    mean_before = fmean(result.community.bills.utility_only / len(result.homes) for result in results)
    return HomeBills(
        name=name,
        bills=bills,
        change_pct=change_pct(bills.broker, bills.utility_only, mean_before),
        worst_change_pct=max(row.change_pct for row in rows),
    )


def _groups(runs: Sequence[Run], results: Sequence[Result]) -> Iterator[Group]:
    pairs = sorted(enumerate(runs), key=lambda pair: pair[1].name)
    for name, members in groupby(pairs, key=lambda pair: pair[1].name):
        numbers = sorted(index for index, _ in members)
        found = [results[index] for index in numbers]
        shares = [each.share_of_perfect_foresight for each in found if each.share_of_perfect_foresight is not None]
        yield Group(
            name=name,
            seeds=tuple(runs[index].seed for index in numbers),
            mean_bill_change_pct=_spread([each.mean_bill_change_pct for each in found]),
            worst_home_change_pct=_spread([each.worst_home_change_pct for each in found]),
            share_of_perfect_foresight=_spread(shares) if shares else None,
        )


def _spread(figures: Sequence[float]) -> Spread:
    return Spread(mean=round(fmean(figures), 4), least=min(figures), largest=max(figures))
