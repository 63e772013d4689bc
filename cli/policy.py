"""`watt admin policy`: what a network's owner has decided, in a file that is checked before it is signed."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click

from chaincode.budget_policy import Policy, Row
from cli.output import EXIT_REFUSED, count, json_option, plain, print_json, refusals_to_exit_codes
from cli.policy_check import Change, changes, policy_on_chain, problems_on_chain
from cli.policy_file import PolicyFile, Problem, format_policy, read_policy
from cli.policy_try import try_policy
from cli.session import Account, Signing, ask, node_option, signed
from node.gateway.client import Client

_FILE = click.Path(dir_okay=False, path_type=Path)


class _Looked(NamedTuple):
    """A file, the policy on the ledger, and what the file would change of it."""

    file: PolicyFile
    before: tuple[Policy, tuple[Row, ...]]
    found: list[Change]


@click.group()
def policy() -> None:
    """A network's policy: a TOML file that is checked, compared and tried before it is signed. See docs/policies.md."""


@policy.command("show")
@click.argument("network_name", metavar="NETWORK")
@node_option
@json_option
@refusals_to_exit_codes
def show(network_name: str, nodes: tuple[str, ...], as_json: bool) -> None:
    """Print the policy of NETWORK as the file that `apply` takes; terms that are the default are left out.

    Example: watt admin policy show home-03 > home-03.toml
    """

    async def read(client: Client) -> tuple[tuple[Policy, tuple[Row, ...]], int]:
        return await policy_on_chain(client.query, network_name), (await client.node_info()).token_decimals

    (terms, rows), decimals = ask(nodes, read)
    if as_json:
        devices = {device: dict(zip(_DONOR_FIELDS, row, strict=True)) for device, *row in rows}
        return print_json({"network": network_name, **terms._asdict(), "devices": devices})
    click.echo(format_policy(network_name, terms, rows, decimals), nl=False)


@policy.command("check")
@click.argument("files", metavar="FILE...", type=_FILE, nargs=-1, required=True)
@node_option
@json_option
@refusals_to_exit_codes
def check(files: tuple[Path, ...], nodes: tuple[str, ...], as_json: bool) -> None:
    """Look for everything that is wrong with policies, in the files and against the ledger. Exit 1 if anything is.

    Example: watt admin policy check home-03.toml home-04.toml
    """

    async def read(client: Client) -> list[Problem]:
        return (await _checked(client, files))[1]

    problems = ask(nodes, read)
    if as_json:
        print_json([problem._asdict() for problem in problems])
    elif not problems:
        click.echo(f"{count(len(files), 'file')}: nothing is wrong")
    _tell(problems, as_json)


@policy.command("diff")
@click.argument("file", type=_FILE)
@node_option
@json_option
@refusals_to_exit_codes
def diff(file: Path, nodes: tuple[str, ...], as_json: bool) -> None:
    """Show what FILE would change of the policy on the ledger. It is checked first.

    Example: watt admin policy diff home-03.toml
    """
    looked, problems = ask(nodes, lambda client: _looked(client, file))
    if looked is None:
        return _tell(problems, False)
    if as_json:
        return print_json([change._asdict() for change in looked.found])
    _say(looked.found)


@policy.command("apply")
@click.argument("file", type=_FILE)
@signed
def apply(file: Path, signing: Signing, as_json: bool) -> None:
    """Let FILE be the policy of its network, in place of the one on the ledger. It is checked first; if nothing would
    change, nothing is sent. The owner signs.

    Example: watt admin policy apply home-03.toml --key owner.key
    """
    key = signing.open()

    async def use(client: Client) -> tuple[_Looked | None, list[Problem], int]:
        looked, problems = await _looked(client, file)
        if looked is None or not looked.found:
            return looked, problems, 0
        account = Account(client, key, (await client.node_info()).chain)
        args: dict[str, Any] = {"network": looked.file.network, **looked.file.policy._asdict()}
        status = await account.settle("budget", "set_policy", {**args, "devices": looked.file.rows})
        return looked, problems, status.height

    looked, problems, height = ask(signing.nodes, use)
    if looked is None:
        return _tell(problems, False)
    if as_json:
        return print_json({"height": height or None, "changes": [change._asdict() for change in looked.found]})
    _say(looked.found)
    if looked.found:
        click.echo(f"done in block {height}")


policy.add_command(try_policy)

_DONOR_FIELDS = ("rank", "floor", "gives", "limit", "amount", "share")


async def _checked(client: Client, files: Sequence[Path]) -> tuple[list[PolicyFile], list[Problem]]:
    """What the files say, and all that is wrong with them, in their order."""
    decimals = (await client.node_info()).token_decimals
    good: list[PolicyFile] = []
    problems: list[Problem] = []
    for path in files:
        found, wrong = read_policy(path, decimals)
        problems += wrong
        if found is not None:
            good.append(found)
    problems += await problems_on_chain(client.query, good)
    order = {str(path): index for index, path in enumerate(files)}
    return good, sorted(problems, key=lambda each: (order[each.file], each.line, each.column))


async def _looked(client: Client, path: Path) -> tuple[_Looked | None, list[Problem]]:
    files, problems = await _checked(client, [path])
    if problems:
        return None, problems
    before = await policy_on_chain(client.query, files[0].network)
    decimals = (await client.node_info()).token_decimals
    return _Looked(files[0], before, changes(before, files[0][2:4], decimals)), []


def _tell(problems: Sequence[Problem], as_json: bool) -> None:
    """All problems on stderr, and exit 1, if there are any."""
    if not problems:
        return
    if not as_json:
        for problem in problems:
            click.echo(plain(str(problem)), err=True)
        if len(problems) > 1:
            click.echo(f"{len(problems)} problems", err=True)
    sys.exit(EXIT_REFUSED)


def _say(found: Sequence[Change]) -> None:
    if not found:
        click.echo("nothing would change")
    for device, term, before, after in found:
        whose = f"{device}: " if device else ""
        click.echo(plain(f"{whose}{term} {before} -> {after}"))
