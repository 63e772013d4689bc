"""`watt sim`: the deterministic simulator at a user's hand."""

import sys
from dataclasses import asdict

import click

from cli.output import EXIT_REFUSED, json_option, print_json, print_table, print_trace
from testnet.sim_options import FAULT_KINDS, WORKLOADS, Options
from testnet.sim_result import SeedResult
from testnet.sim_runs import run_seed, run_seeds
from testnet.small_scope_commands import small_scope

MAX_TRACEBACKS = 3


@click.group()
def sim() -> None:
    """The deterministic simulator of consensus."""


sim.add_command(small_scope)


def _kinds(_context: click.Context, _parameter: click.Parameter, value: str) -> frozenset[str]:
    if value in ("all", "none"):
        return frozenset(FAULT_KINDS if value == "all" else ())
    kinds = frozenset(part.strip() for part in value.split(","))
    unknown = kinds - set(FAULT_KINDS)
    if unknown:
        raise click.BadParameter(f"{', '.join(sorted(unknown))}: choose from all, none, {', '.join(FAULT_KINDS)}")
    return kinds


@sim.command()
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="The first seed.")
@click.option(
    "--seeds", type=click.IntRange(min=1), default=1, show_default=True, help="How many, one after the other."
)
@click.option(
    "--faults", callback=_kinds, default="all", show_default=True, help="all, none, or a list: loss,crash,..."
)
@click.option("--nodes", type=click.IntRange(min=4, max=40), help="How many replicas; by default the seed decides.")
@click.option(
    "--workload", type=click.Choice(list(WORKLOADS)), default="payments", show_default=True, help="What clients do."
)
@click.option("--processes", type=click.IntRange(min=1), help="How many processes for many seeds; default: all cores.")
@click.option("--trace", is_flag=True, help="Print every event, for one seed.")
@json_option
def run(
    seed: int,
    seeds: int,
    faults: frozenset[str],
    nodes: int | None,
    workload: str,
    processes: int | None,
    trace: bool,
    as_json: bool,
) -> None:
    """Simulate whole networks with faults, each from one seed, and check that nothing is lost, forked or stuck.

    The same seed gives the same history. Exit status 1 if a seed failed.

    \b
    Example: watt sim run --seeds 200
             watt sim run --seed 42 --trace
    """
    options = Options(faults, nodes or 0, workload)
    if trace:
        if seeds != 1:
            raise click.UsageError("--trace is for one seed")
        results = [run_seed(seed, options, trace=lambda line: print_trace(line, err=as_json))]
    else:
        results = _run_many(range(seed, seed + seeds), options, processes or 0)
    _report(sorted(results, key=lambda result: result.seed), faults, nodes, workload, as_json)
    if any(result.failure for result in results):
        sys.exit(EXIT_REFUSED)


def _run_many(seeds: range, options: Options, processes: int) -> list[SeedResult]:
    found = run_seeds(seeds, options, processes)
    if not sys.stderr.isatty():
        return list(found)
    with click.progressbar(found, length=len(seeds), label="seeds", file=sys.stderr) as bar:
        return list(bar)


def _report(results: list[SeedResult], faults: frozenset[str], nodes: int | None, workload: str, as_json: bool) -> None:
    failed = [result for result in results if result.failure]
    extra = "" if faults == frozenset(FAULT_KINDS) else f" --faults {','.join(sorted(faults)) or 'none'}"
    extra += f" --nodes {nodes}" if nodes else ""
    extra += f" --workload {workload}" if workload != "payments" else ""
    for result in failed:
        click.echo(f"seed {result.seed}: {result.failure}", err=True)
        click.echo(f"  replay: watt sim run --seed {result.seed}{extra} --trace", err=True)
        if result.detail and len(failed) <= MAX_TRACEBACKS:
            click.echo(result.detail, err=True)
    if as_json:
        print_json({"seeds": len(results), "failed": [asdict(result) for result in failed], **_totals(results)})
        return
    totals = _totals(results)
    rows = [("seeds", len(results)), ("failed", len(failed)), *totals.items()]
    print_table("simulated", ("what", ">value"), rows)


def _totals(results: list[SeedResult]) -> dict[str, int]:
    return {
        "blocks": sum(result.height for result in results),
        "transactions": sum(result.transactions for result in results),
        "crashes": sum(result.crashes for result in results),
        "stops": sum(result.stops for result in results),
        "lies": sum(result.lies for result in results),
        "accusations": sum(result.accusations for result in results),
        "messages": sum(result.messages for result in results),
        "highest_view": max(result.highest_view for result in results),
        "slowest_recovery_ms": max(result.recovery_ms for result in results),
        "slowest_inclusion_ms": max(result.inclusion_ms for result in results),
    }
