"""`watt admin proposals, approve, withdraw`: all that the validators' admins vote on, in one list.

There are three ballots, each of which counts its proposals by itself, so a proposal is named by both: ``members/3``,
``rules/0``, ``motions/7``. A bare number is one of members.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, NamedTuple, cast

import click

from cli import governance, motions, rules
from cli.ballots import approve_one, approving_options, picked, votes, withdraw_one
from cli.output import json_option, plain, print_json, print_table, refusals_to_exit_codes
from cli.session import Signing, ask, node_option, signed
from cli.units import clock
from node.errors import CodecError, RefusedError
from node.gateway.client import Client, NodeInfo
from node.model.block import decode_header

PACE_BLOCKS: Final = 500
"""Over so many blocks the network's pace is measured."""
OPEN: Final = "open"
SCHEDULED: Final = "scheduled"
COMMON: Final[Mapping[str, Any]] = {
    "proposal": None, "digest": None, "kind": None, "first_height": None, "last_height": None, "proposer": None,
    "approved_by": (), "not_approved_by": (), "missing": 0,
}  # fmt: skip
"""What all proposals have, and what stands for what is decided already."""


class _Ballot(NamedTuple):
    """``contract``: where its votes go; ``lines``: a proposal in full, the first line says it in short."""

    contract: str
    read: Callable[[Client], Awaitable[list[dict[str, Any]]]]
    lines: Callable[[dict[str, Any], int], list[str]]


def _rules_lines(row: dict[str, Any], decimals: int) -> list[str]:
    return [rules.said(row), *rules.lines_of(row, decimals)]


_BALLOTS: Final = {
    "members": _Ballot("governance", governance.read_proposals, lambda row, _: governance.lines_of(row)),
    "rules": _Ballot("rules", rules.read_proposals, _rules_lines),
    "motions": _Ballot("motions", motions.read_motions, motions.lines_of),
}


class ProposalId(click.ParamType[tuple[str, int]]):
    """``motions/7``; becomes (ballot, number)."""

    name = "proposal"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        if isinstance(value, tuple):
            return value
        ballot, _, digits = str(value).rpartition("/")
        ballot = ballot or "members"
        if ballot not in _BALLOTS or not (digits.isascii() and digits.isdecimal() and len(digits) <= 18):
            self.fail(
                f"{str(value)[:40]!r} is no proposal: one is like motions/7; see `watt admin proposals`", param, ctx
            )
        return ballot, int(digits)


_id_argument = click.argument("proposal", type=ProposalId(), metavar="PROPOSAL")


@click.command()
@click.argument("proposal", type=ProposalId(), metavar="[PROPOSAL]", required=False)
@node_option
@json_option
@refusals_to_exit_codes
def proposals(proposal: tuple[str, int] | None, nodes: tuple[str, ...], as_json: bool) -> None:
    """List what is open and what is scheduled: members, rules, tolls, auditors, upgrades. With PROPOSAL: one in full,
    an upgrade's bundle digest too.

    When something takes effect is told by its height; the time is what it comes to at the pace of the last 500 blocks.

    Example: watt admin proposals

    Example: watt admin proposals motions/7
    """
    if proposal is not None:
        ballot, number = proposal
        row = ask(nodes, lambda client: _shown(client, ballot, number))
        if as_json:
            return print_json({name: value for name, value in row.items() if name != "lines"})
        return click.echo("\n".join(row["lines"]))
    rows = ask(nodes, _agenda)
    if as_json:
        return print_json(rows)
    if not rows:
        return click.echo("no open proposals, and nothing is scheduled")
    print_table(
        "Proposals",
        ("Proposal", "State", "What", ">From height", "About (UTC)", "?Approved by", "Missing", "?Proposal digest"),
        [
            (
                row["id"], row["state"], plain(row["what"]), row["first_height"],
                "" if row["about"] is None else clock(row["about"])[:16], ", ".join(row["approved_by"]),
                f"{row['missing']} of {', '.join(row['not_approved_by'])}" if row["missing"] else "",
                row["digest"] or "",
            )
            for row in rows
        ],
    )  # fmt: skip


@click.command()
@_id_argument
@approving_options
@signed
def approve(
    proposal: tuple[str, int],
    digest: str | None,
    yes: bool,
    signing: Signing,
    as_json: bool,
) -> None:
    """Approve PROPOSAL for the validators that you are the admin of.

    Example: watt admin approve members/3 --digest 5c0e... --key admin.key
    """
    ballot, number = proposal

    async def find(client: Client, number: int) -> dict[str, Any]:
        return await _found(client, ballot, number)

    def show(row: dict[str, Any]) -> None:
        click.echo("\n".join(row["lines"]), err=True)

    approve_one(_BALLOTS[ballot].contract, number, find, show, digest, yes, signing, as_json)


@click.command()
@_id_argument
@signed
def withdraw(proposal: tuple[str, int], signing: Signing, as_json: bool) -> None:
    """Take back PROPOSAL, or your approval if it is another's.

    Example: watt admin withdraw motions/3 --key admin.key
    """
    ballot, number = proposal
    withdraw_one(_BALLOTS[ballot].contract, number, signing, as_json)


async def _shown(client: Client, ballot: str, number: int) -> dict[str, Any]:
    """A proposal that is open, or a motion that is scheduled, in full."""
    if ballot == "motions":
        for row in await motions.read_scheduled(client):
            if row["proposal"] == number:
                said = motions.lines_of(row, (await client.node_info()).token_decimals)
                return _in_full(ballot, SCHEDULED, row, said)
    return await _found(client, ballot, number)


async def _found(client: Client, ballot: str, number: int) -> dict[str, Any]:
    """An open proposal, and how it is shown in full."""
    kind = _BALLOTS[ballot]
    info = await client.node_info()
    row = picked(await kind.read(client), number, "watt admin proposals")
    return _in_full(ballot, OPEN, row, kind.lines(row, info.token_decimals), *votes(row))


def _in_full(ballot: str, state: str, row: dict[str, Any], said: list[str], *votes: str) -> dict[str, Any]:
    head = f"proposal {ballot}/{row['proposal']}, {state}, from height {row['first_height']} on"
    lines = [head, *(f"  {line}" for line in said), *votes]
    return _record(ballot, state, row, said[0]) | {"lines": [plain(line) for line in lines]}


async def _agenda(client: Client) -> list[dict[str, Any]]:
    """Everything that is scheduled or open, by the height from which on it counts."""
    info = await client.node_info()
    pace = await _pace(client, info)
    rows = [_record(name, SCHEDULED, row, what) for name, row, what in await _scheduled(client, info.token_decimals)]
    for name, ballot in _BALLOTS.items():
        for row in await ballot.read(client):
            rows.append(_record(name, OPEN, row, ballot.lines(row, info.token_decimals)[0]))
    for row in rows:
        row["about"] = (
            None if pace is None else info.head_time + (row["first_height"] - info.height) * pace[0] // pace[1]
        )
    return sorted(rows, key=lambda row: cast("int", row["first_height"]))


def _record(ballot: str, state: str, row: Mapping[str, Any], what: str) -> dict[str, Any]:
    """A proposal as all are shown, whatever is voted on: what a ballot says of its own is in ``details``. What is
    decided has no votes any more, and a change of members no number."""
    number = row.get("proposal")
    return {
        "id": ballot if number is None else f"{ballot}/{number}",
        "state": state,
        **{name: row.get(name, default) for name, default in COMMON.items()},
        "what": what,
        "details": {name: value for name, value in row.items() if name not in COMMON},
    }


async def _scheduled(client: Client, decimals: int) -> list[tuple[str, dict[str, Any], str]]:
    """(ballot, what the node says, one line) of each."""
    found: list[tuple[str, dict[str, Any], str]] = []
    epoch = await governance.read_scheduled(client)
    if epoch is not None:
        names = ", ".join(seat["name"] for seat in epoch["validators"])
        found.append(("members", epoch, f"validators: {names}"))
    settings = await rules.read_scheduled(client)
    if settings is not None:
        coming = {"first_height": settings["first_height"], "names": settings["names"]}
        found.append(("rules", coming, f"rules: {', '.join(settings['names'])}"))
    return found + [("motions", row, motions.said(row, decimals)) for row in await motions.read_scheduled(client)]


async def _pace(client: Client, info: NodeInfo) -> tuple[int, int] | None:
    """(block seconds, blocks) of the last blocks; None if the node has too few of them."""
    blocks = min(PACE_BLOCKS, info.height - 1)
    if blocks < 1:
        return None
    try:
        header = decode_header((await client.block(info.height - blocks)).header)
    except CodecError as error:
        raise RefusedError("bad-answer", f"the node's answer is no block: {error.message}") from error
    except RefusedError as error:
        if error.code not in ("no-block", "below-base"):
            raise
        return None
    return max(0, info.head_time - header.time), blocks
