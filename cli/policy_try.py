"""`watt admin policy try`: what a period that is over would have been under another policy."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

import click

from chaincode.budget_closed import Closing
from chaincode.contract import ContractError
from chaincode.settlement_ledger import Entry, standing
from chaincode.settlement_lines import TOLL
from cli.answers import BUDGET, NETWORK_BUDGET, PRODUCT, Reader, as_rows, record
from cli.devices import read_devices
from cli.output import EXIT_REFUSED, count, json_option, plain, print_json, print_table, refusals_to_exit_codes, tokens
from cli.policy_check import policy_on_chain, problems_on_chain
from cli.policy_file import PolicyFile, Problem, read_policy
from cli.policy_rehearsal import Facts, Fate, Flow, Rehearsal, rehearse
from cli.session import ask, node_option
from cli.slots import slot_seconds_of
from cli.units import MAX_PERIOD, Count, clock
from node.errors import RefusedError
from node.gateway.client import Client

OVER: Final = ("closing", "closed")
SIMPLER: Final = (
    "Costs are what settlement booked for each device and slot. Simpler than it was: orders set nothing aside before "
    "their slot is settled, other networks take no part, and allocation is at the start."
)
_SHOWN_HELPERS: Final = 3


class _Tried(NamedTuple):
    """A period, and what it is under the policy of then and under the one that is tried."""

    network: str
    period: int
    facts: Facts
    then: Rehearsal
    new: Rehearsal
    decimals: int


@click.command("try")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--period", type=Count(most=MAX_PERIOD), help="The billing period's number; by default the last that is over."
)
@node_option
@json_option
@refusals_to_exit_codes
def try_policy(file: Path, period: int | None, nodes: tuple[str, ...], as_json: bool) -> None:
    """Replay a billing period that is over, by default the last one, under the policy in FILE and under that of then:
    which devices would have run out, when, who would have helped, and what would be left. Nothing is sent.

    Example: watt admin policy try home-03.toml
    """

    async def use(client: Client) -> tuple[_Tried | None, list[Problem]]:
        decimals = (await client.node_info()).token_decimals
        found, problems = read_policy(file, decimals)
        problems += [] if found is None else await problems_on_chain(client.query, [found])
        if found is None or problems:
            return None, problems
        return await _tried(client, found, period, decimals), []

    tried, problems = ask(nodes, use)
    if tried is None:
        for problem in problems:
            click.echo(plain(str(problem)), err=True)
        sys.exit(EXIT_REFUSED)
    if as_json:
        return print_json(_document(tried))
    _show(tried)


async def facts_of(read: Reader, network: str, period: int, slot_seconds: int) -> Facts:
    """What the ledger knows of a network's period. Raises RefusedError: "period-not-over", "pruned", and the node's."""
    of = {"network": network, "period": period}
    _, first, end, *_, closing = cast("tuple[Any, ...]", as_rows(await read("periods", "period", of)))
    money = record(await read("budget", "network_budget", of), NETWORK_BUDGET)
    if money["status"] not in OVER:
        raise RefusedError("period-not-over", f"period {period} of {network} is {money['status']}")
    begun, opened = cast("tuple[int, int]", as_rows(await read("market", "span", {})))
    rows = await read_devices(read, network, period)
    devices, used_before = [], {}
    for device in [row["device"] for row in rows]:
        known = cast("tuple[Any, ...]", as_rows(await read("identity", "device", {"device": device})))
        devices.append((device, known[2], known[7]))
        used_before[device] = record(await _budget(read, device, period - 1), BUDGET)["used"] if first > begun else 0
    flows = []
    for slot in range(max(first, begun), min(end, opened)):
        if booked := await _flows(read, network, slot):
            product = record(await read("market", "product", {"slot": slot}), PRODUCT)
            flows.append((slot, product["metered_by"], booked))
    return Facts(
        network,
        tuple(devices),
        first,
        end,
        slot_seconds,
        cast("tuple[int, ...]", as_rows(await read("budget", "settings", {}))),
        _funds(money, closing),
        {row["device"]: row["budget"] for row in rows},
        {row["device"]: row["forecast"] for row in rows},
        used_before,
        tuple(flows),
    )


async def _tried(client: Client, file: PolicyFile, period: int | None, decimals: int) -> _Tried:
    network = file.network
    slot_seconds = await slot_seconds_of(client.query)
    if period is None:
        now = (await client.node_info()).now // slot_seconds
        running = as_rows(await client.query("budget", "period", {"network": network, "slot": now}))
        period = cast("int", running[0]) - 1
        if period < 0:
            raise RefusedError("period-not-over", f"{network} is in its first period: none is over")
    facts = await facts_of(client.query, network, period, slot_seconds)
    before = await policy_on_chain(client.query, network, facts.end - 1)
    try:
        return _Tried(network, period, facts, rehearse(facts, *before), rehearse(facts, *file[2:4]), decimals)
    except ContractError as error:
        raise RefusedError(error.code, f"period {period} of {network} cannot be replayed: {error.message}") from error


def _funds(money: Mapping[str, int], closing: Sequence[Any] | None) -> int:
    """What came into the pool from outside but earnings, less what the owner gave, sold, returned or redeemed before
    the close did: base units.
    """
    close = Closing() if closing is None else Closing(*closing)
    gone = money["sold"] + money["returned"] + money["redeemed"] - close.sold - close.returned - close.redeemed
    return max(0, money["issued"] + money["carried_in"] + money["received"] - money["sent"] - gone)


async def _budget(read: Reader, device: str, period: int) -> Any:
    return await read("budget", "budget", {"device": device, "period": period})


async def _flows(read: Reader, network: str, slot: int) -> tuple[Flow, ...]:
    """What settlement booked in a slot, by device; nothing if it was never settled. Raises RefusedError("pruned")."""
    try:
        settled = await read("settlement", "settled", {"network": network, "slot": slot})
    except RefusedError as error:
        if error.code != "pruned":
            raise
        text = f"the details of slot {slot} have been deleted, so the period cannot be replayed: try a later one"
        raise RefusedError("pruned", text) from error
    if settled is None:
        return ()
    rows = cast("Sequence[tuple[Any, ...]]", as_rows(as_rows(settled)[1]))
    flows: dict[str, Flow] = {}
    for entry in standing([Entry(*row) for row in rows]):
        of = flows.get(entry.device, Flow(entry.device, 0, 0, 0))
        cost, earned = max(0, -entry.amount), max(0, entry.amount)
        taken = entry.energy_wh if cost and entry.reason != TOLL else 0
        flows[entry.device] = Flow(entry.device, of.cost + cost, of.earned + earned, of.import_wh + taken)
    return tuple(flows.values())


def _document(tried: _Tried) -> dict[str, Any]:
    """The answer for programs."""
    whole = {"network": tried.network, "period": tried.period, "funds": tried.facts.funds, "simpler": SIMPLER}
    for name, side in (("then", tried.then), ("new", tried.new)):
        devices = {device: fate._asdict() for device, fate in side.fates.items()}
        whole[name] = {"refused": side.refused, "pool": side.pool, "owed": side.owed, "devices": devices}
    return whole


def _show(tried: _Tried) -> None:
    facts, decimals = tried.facts, tried.decimals
    rows = []
    for device, new in tried.new.fates.items():
        then = tried.then.fates[device]
        for name, fate in (("then", then), ("new", new)):
            rows.append((device if name == "then" else "", name, *_cells(fate, facts, decimals)))
    for name, side in (("then", tried.then), ("new", tried.new)):
        pool = tokens(side.pool, decimals)
        rows.append(("pool" if name == "then" else "", name, "", "", "", "", "", tokens(side.owed, decimals), pool))
    print_table(
        f"Period {tried.period} of {tried.network}, {count(len(facts.flows), 'slot')} with anything to book: the "
        "policy of then, and the new one; tokens",
        ("Device", "Policy", ">Allocated", ">Spent", "Ran out", "?Helped by", "?>Gave", "?>Owed", ">Left"),
        rows,
    )
    if tried.new.refused is not None:
        click.echo(f"the ledger would refuse to allocate by the new policy: {tried.new.refused}")
    out = [device for device, fate in tried.new.fates.items() if fate.out is not None]
    spared = [device for device, fate in tried.then.fates.items() if fate.out is not None and device not in out]
    click.echo(f"would run out: {', '.join(out) or 'none'}; no more: {', '.join(spared) or 'none'}")
    click.echo(SIMPLER)


def _cells(fate: Fate, facts: Facts, decimals: int) -> tuple[str, ...]:
    helpers = [f"{giver or 'pool'} {tokens(amount, decimals)}" for giver, amount in fate.helpers[:_SHOWN_HELPERS]]
    more = len(fate.helpers) - len(helpers)
    return (
        tokens(fate.allocated, decimals),
        tokens(fate.spent, decimals),
        "never" if fate.out is None else clock(fate.out * facts.slot_seconds)[:16],
        ", ".join(helpers) + (f" and {more} more" if more else ""),
        tokens(fate.gave, decimals),
        tokens(fate.owed, decimals),
        tokens(fate.left, decimals),
    )
