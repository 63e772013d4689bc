"""What `watt admin propose, approve, withdraw` and `watt admin rules` have in common: heights, digests, approvals.

An approval is signed for the digest of what it approves. The digest is computed here from what is shown, so a node that
shows one thing cannot have another approved.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import click

from chaincode.ballot import MAX_AHEAD, NOTICE
from chaincode.contract import ContractError
from cli.confirm import confirm
from cli.output import count, print_json
from cli.session import Signing, ask, signed, transact
from cli.units import Count, hex_id
from node.errors import RefusedError
from node.gateway.client import Client, TxStatus

DEFAULT_AHEAD: Final = 1000
"""Heights until a change takes effect, if nobody says: more than an hour of an idle network, minutes of a busy one."""

C = TypeVar("C", bound=Callable[..., Any])


class Height(click.ParamType[tuple[int, bool]]):
    """``5000``, or ``+200`` for so many above the head; becomes (number, whether it counts from the head)."""

    name = "height"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, bool]:
        if isinstance(value, tuple):
            return value
        digits = str(value).removeprefix("+")
        if not (digits.isascii() and digits.isdecimal() and len(digits) <= 18):
            self.fail(f"{str(value)[:40]!r} is neither a height nor +BLOCKS", param, ctx)
        return int(digits), str(value).startswith("+")


_NAMES = {"governance": "members"}
"""What people call a contract's ballot, where it has another name."""

at_option = click.option(
    "--at",
    "height",
    type=Height(),
    default=f"+{DEFAULT_AHEAD}",
    show_default=True,
    metavar="HEIGHT|+BLOCKS",
    help=f"From which height on; at least {NOTICE} above the block that decides, at most {MAX_AHEAD}.",
)


def propose(
    contract: str,
    height: tuple[int, bool],
    change: Callable[[Client], Awaitable[dict[str, Any]]],
    signing: Signing,
    as_json: bool,
    method: str = "propose",
) -> None:
    """Propose what ``change`` says, having asked the node, and say what came of it."""
    number, from_head = height
    first = number

    async def args(client: Client) -> dict[str, Any]:
        nonlocal first
        first = (await client.node_info()).height + number if from_head else number
        return {"first_height": first, **await change(client)}

    proposed(contract, transact(*signing, contract, method, args), first, as_json)


def proposed(contract: str, status: TxStatus, first_height: int, as_json: bool) -> None:
    """Say what came of a proposal."""
    match status.result:
        case (int(proposal), bytes(digest), int(missing)):
            _told(contract, status, proposal, digest, missing, first_height, as_json)
        case _:
            raise RefusedError("bad-answer", "the receipt's result is no proposal: another version?")


def approve_command(
    contract: str,
    text: str,
    find: Callable[[Client, int], Awaitable[dict[str, Any]]],
    show: Callable[[dict[str, Any]], None],
) -> click.Command:
    """The command with the help ``text`` that approves the proposal which ``find`` brings: of the digest that is given,
    or as ``show`` shows it and somebody confirms.
    """

    @click.command("approve", help=text)
    @click.argument("number", type=Count())
    @approving_options
    @signed
    def approve(
        number: int,
        digest: str | None,
        yes: bool,
        signing: Signing,
        as_json: bool,
    ) -> None:
        approve_one(contract, number, find, show, digest, yes, signing, as_json)

    return approve


def approving_options(command: C) -> C:
    """--digest and --yes."""
    digest = click.option(
        "--digest", help="Approve only if this is the proposal digest; else it is shown, and you are asked."
    )
    return digest(click.option("--yes", is_flag=True, help="Approve whatever the proposal says; do not ask.")(command))


def approve_one(
    contract: str,
    number: int,
    find: Callable[[Client, int], Awaitable[dict[str, Any]]],
    show: Callable[[dict[str, Any]], None],
    digest: str | None,
    yes: bool,
    signing: Signing,
    as_json: bool,
) -> None:
    """Approve the proposal that ``find`` brings, of the ``digest`` in hex, or of whatever ``show`` shows."""
    wanted = None if digest is None else hex_id(digest, "--digest")
    found = ask(signing[0], lambda client: find(client, number))
    if wanted is None and not yes:
        show(found)
        confirm("Approve this?", yes=False)
    if wanted is not None and wanted != found["digest"]:
        raise RefusedError("wrong-digest", f"the digest of proposal {number} is {found['digest'].hex()}")

    async def args(_: Client) -> dict[str, Any]:
        return {"proposal": number, "digest": found["digest"]}

    status = transact(*signing, contract, "approve", args)
    _told(contract, status, number, found["digest"], status.result, found["first_height"], as_json)


def withdraw_command(contract: str, text: str) -> click.Command:
    """The command with the help ``text`` that takes back a proposal, or one's approval of it."""

    @click.command("withdraw", help=text)
    @click.argument("number", type=Count())
    @signed
    def withdraw(number: int, signing: Signing, as_json: bool) -> None:
        withdraw_one(contract, number, signing, as_json)

    return withdraw


def withdraw_one(contract: str, number: int, signing: Signing, as_json: bool) -> None:
    """Take back a proposal, or one's approval of it."""

    async def args(_: Client) -> dict[str, Any]:
        return {"proposal": number}

    status = transact(*signing, contract, "withdraw", args)
    if as_json:
        return print_json({"height": status.height, "proposal": number})
    click.echo(f"withdrawn in block {status.height}")


def checked(rows: list[dict[str, Any]], digest_of: Callable[[dict[str, Any]], bytes]) -> list[dict[str, Any]]:
    """The proposals. Raises RefusedError("bad-answer") if one has not the digest of what it says."""
    for row in rows:
        try:
            digest = digest_of(row)
        except (AttributeError, ContractError, TypeError, ValueError) as error:
            raise RefusedError("bad-answer", f"the node's answer is no proposal: {error}") from error
        if digest != row["digest"]:
            raise RefusedError("bad-answer", f"the node shows proposal {row['proposal']} other than it is")
    return rows


def picked(rows: list[dict[str, Any]], number: int, command: str) -> dict[str, Any]:
    """The open proposal ``number``. Raises RefusedError("unknown-proposal")."""
    found = next((row for row in rows if row["proposal"] == number), None)
    if found is None:
        raise RefusedError("unknown-proposal", f"there is no open proposal {number}: see `{command}`")
    return found


def votes(row: dict[str, Any]) -> list[str]:
    """The last lines of a proposal as it is shown: who approves, what is missing, the digest."""
    return [
        f"  approved by: {', '.join(row['approved_by']) or 'nobody'}",
        f"  {count(row['missing'], 'approval')} missing until height {row['last_height']}, "
        f"of: {', '.join(row['not_approved_by'])}",
        f"  proposal digest: {row['digest'].hex()}",
    ]


def _told(
    contract: str,
    status: TxStatus,
    proposal: int,
    digest: bytes,
    missing: Any,
    first_height: int,
    as_json: bool,
) -> None:
    of = f"{_NAMES.get(contract, contract)}/{proposal}"
    if as_json:
        return print_json(
            {
                "height": status.height,
                "id": of,
                "proposal": proposal,
                "digest": digest,
                "missing": missing,
                "first_height": first_height,
            }
        )
    click.echo(f"proposal {of}, in block {status.height}; proposal digest {digest.hex()}")
    if missing:
        click.echo(f"{count(missing, 'approval')} missing, until height {first_height - NOTICE}")
    else:
        click.echo(f"decided: in force by height {first_height}")
