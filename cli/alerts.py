"""`watt wallet alerts`: which device used more than it should, or was paid for by others, and what proves it."""

from pathlib import Path
from typing import Any

import click

from cli.alert_trail import Trail, trail_of
from cli.alert_words import cause_of, giver_name, proof_line, reference_shown
from cli.answers import ALERT, PROOF, Reader, all_records, record, records
from cli.asking import Source, believed
from cli.output import json_option, plain, print_json, print_table, refusals_to_exit_codes
from cli.session import ask, done, may_sign_options, transact
from cli.slots import TITLE, slot_seconds_of, slot_shown
from cli.statement_words import Token
from cli.units import Count, clock, kwh
from cli.wallet_home import Trust, trust_options
from node.gateway.client import Client


@click.command()
@click.argument("network")
@click.option("--device", help="Only those of this device.")
@click.option("--open", "only_open", is_flag=True, help="Only those that the owner has not acknowledged.")
@click.option(
    "--explain", "number", metavar="N", type=Count(), help="Show all that the alert with this number rests on."
)
@click.option(
    "--acknowledge", "seen", metavar="N", type=Count(), help="Note that this alert was seen; the owner signs."
)
@may_sign_options
@trust_options
@json_option
@refusals_to_exit_codes
def alerts(
    network: str,
    device: str | None,
    only_open: bool,
    number: int | None,
    seen: int | None,
    key_file: Path | None,
    passphrase_file: Path | None,
    nodes: tuple[str, ...],
    trust: Trust,
    as_json: bool,
) -> None:
    """List NETWORK's alerts: which device used more than it should, or was paid for by others, and what proves it.

    --explain N shows the whole trail behind an alert: shares with their givers and rules, orders, readings and entries
    of settlement, each with its transaction and block. With --genesis FILE no node need be trusted.

    Example: watt wallet alerts home-03 --open

    Example: watt wallet alerts home-03 --explain 2

    Example: watt wallet alerts home-03 --acknowledge 2 --key owner.key
    """
    if (number is not None) + (seen is not None) + (device is not None or only_open) > 1:
        raise click.UsageError("say one of --explain, --acknowledge, and what to list")
    if seen is not None:
        return _acknowledge(network, seen, nodes, key_file, passphrase_file, as_json)
    if number is not None:
        return _explain(network, number, nodes, trust, as_json)
    _list(network, device, only_open, nodes, trust, as_json)


def _acknowledge(
    network: str, seen: int, nodes: tuple[str, ...], key_file: Path | None, passphrase: Path | None, as_json: bool
) -> None:
    if key_file is None:
        raise click.UsageError("--acknowledge needs --key: the owner signs")

    async def args(_: Client) -> dict[str, Any]:
        return {"network": network, "alert": seen}

    done(transact(nodes, key_file, passphrase, "budget", "acknowledge", args), as_json)


def _list(
    network: str, device: str | None, only_open: bool, nodes: tuple[str, ...], trust: Trust, as_json: bool
) -> None:
    async def read(client: Client) -> tuple[list[dict[str, Any]], Source, int]:
        source = await believed(client, trust)
        return await read_alerts(source.read, network), source, await slot_seconds_of(source.read)

    rows, source, slot_seconds = ask(nodes, read)
    chosen = [
        row for row in rows if (device is None or row["device"] == device) and not (only_open and row["acknowledged"])
    ]
    if as_json:
        return print_json(chosen if source.shown is None else {"alerts": chosen, "proven": source.shown})
    print_table(
        f"Alerts of {network}",
        (">No.", "Device", "Why", "When (UTC)", "?>Period", "Rests on", "?Seen (UTC)"),
        [
            (
                row["number"],
                row["device"],
                cause_of(row, source.symbol, source.decimals),
                clock(row["time"])[:16],
                row["period"],
                _rests_on(row["evidence"], slot_seconds),
                clock(row["acknowledged"])[:16] if row["acknowledged"] else "no",
            )
            for row in chosen
        ],
    )
    if source.shown is not None:
        click.echo(source.shown)


def _rests_on(evidence: list[dict[str, Any]], slot_seconds: int) -> str:
    last = proof_line(evidence[-1], slot_seconds)
    return last if len(evidence) == 1 else f"{last} and {len(evidence) - 1} more"


def _explain(network: str, number: int, nodes: tuple[str, ...], trust: Trust, as_json: bool) -> None:
    async def read(client: Client) -> tuple[dict[str, Any], Trail, Source, int]:
        source = await believed(client, trust)
        answer = await source.read("overview", "alert", {"network": network, "number": number})
        (alert,) = named_alerts([record(answer, ALERT)], number)
        trail = await trail_of(source.read, network, alert)
        return alert, trail, source, await slot_seconds_of(source.read)

    alert, trail, source, slot_seconds = ask(nodes, read)
    if as_json:
        steps = [step._asdict() for step in trail.steps]
        facts = {"alert": alert, "steps": steps, "deleted": trail.deleted, "complete": trail.complete}
        return print_json(facts if source.shown is None else {**facts, "proven": source.shown})
    _print_trail(network, alert, trail, source, slot_seconds)


def _print_trail(network: str, alert: dict[str, Any], trail: Trail, source: Source, slot_seconds: int) -> None:
    token = Token(source.symbol, source.decimals)
    why = cause_of(alert, source.symbol, source.decimals)
    click.echo(plain(f"{alert['device']}, period {alert['period']}: {why}"))
    click.echo(f"raised in block {alert['height']}, {clock(alert['time'])}; it rests on:")
    for proof in alert["evidence"]:
        click.echo(plain(f"  {proof_line(proof, slot_seconds)}, {token.exact(proof['amount'])} {token.symbol}"))
    if not trail.steps and trail.complete:
        return click.echo("nothing was charged for it" + (f"; {source.shown}" if source.shown else ""))
    print_table(
        f"All that is behind it, {token.symbol}",
        (
            TITLE,
            "What",
            f">{token.symbol}",
            "?>kWh",
            "By",
            "?Rule",
            ">Booked in block",
            "Transaction, order or charge",
            "?Note",
        ),
        [
            (
                "" if step.slot < 0 else slot_shown(step.slot, slot_seconds),
                step.what,
                token.exact(step.amount),
                kwh(step.energy_wh) if step.energy_wh else "",
                giver_name(step.by) if step.what == "share" else step.by,
                step.rule,
                step.height,
                reference_shown(step.reference, slot_seconds),
                step.note + (f", {token.exact(step.returned)} came back unspent" if step.returned else ""),
            )
            for step in trail.steps
        ],
    )
    click.echo(f"together {token.exact(sum([step.amount for step in trail.steps]))} {token.symbol}")
    if trail.deleted and not trail.complete:
        click.echo(
            f"without {len(trail.deleted)} slots whose details have been deleted: their blocks, and the digests of "
            "`market.pruned`, still prove them"
        )
    elif not trail.complete:
        click.echo("the settlement of some slots has been corrected in the block of the alert")
    if source.shown is not None:
        click.echo(source.shown)


async def read_alerts(read: Reader, network: str) -> list[dict[str, Any]]:
    """All alerts of a network, oldest first, each with its ``number`` and named evidence."""
    return named_alerts(await all_records(read, "budget", "alerts", {"network": network}, ALERT), 0)


def named_alerts(rows: list[dict[str, Any]], first: int) -> list[dict[str, Any]]:
    """Rows of alerts from number ``first`` on, with their numbers, and the fields of their evidence named."""
    return [
        {"number": number, **row, "evidence": records(row["evidence"], PROOF)} for number, row in enumerate(rows, first)
    ]
