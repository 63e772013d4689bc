"""`watt wallet statement`: a network's bill for a billing period, and what each of its figures rests on."""

import asyncio
from pathlib import Path

import click

from cli.answers import Reader
from cli.asking import believed
from cli.output import json_option, print_json, refusals_to_exit_codes
from cli.periods import period_asked, period_option
from cli.session import ask, node_option
from cli.statement import Statement, make_statement
from cli.statement_facts import gather_facts
from cli.statement_files import explanation_json, statement_csv, statement_json
from cli.statement_lines import MISMATCH
from cli.statement_text import print_line, print_statement
from cli.statement_words import Token
from cli.units import Count
from cli.wallet_home import Trust, trust_options
from node.errors import RefusedError
from node.gateway.client import Client
from node.secrecy import close_files

_PATH = click.Path(path_type=Path, dir_okay=False)
_TRIES = 3
_PAUSE_S = 0.5


@click.command()
@click.argument("network")
@period_option
@click.option("--explain", "line", metavar="LINE", type=Count(1), help="Show what the line with this number rests on.")
@click.option("--csv", "csv_file", type=_PATH, help="Write every entry, with its ids and blocks, to this file.")
@click.option("--pdf", "pdf_file", type=_PATH, help="Write one page for the household to this file.")
@node_option
@trust_options
@json_option
@refusals_to_exit_codes
def statement(
    network: str,
    period: int | None,
    line: int | None,
    csv_file: Path | None,
    pdf_file: Path | None,
    nodes: tuple[str, ...],
    trust: Trust,
    as_json: bool,
) -> None:
    """Show NETWORK's bill for a billing period: from whom it bought, to whom it sold, and the same with the utility
    alone.

    What was paid is negative. Every line has a number; --explain LINE lists the trades, settlement entries, orders and
    readings that it is the sum of, with their transactions and blocks. All of it is proven.

    Example: watt wallet statement home-03 --period 17332

    Example: watt wallet statement home-03 --period 17332 --explain 2
    """

    async def read(client: Client) -> tuple[Statement, Token, str]:
        source = await believed(client, trust)
        number = await period_asked(client, source, period, network)
        made = await read_statement(source.read, network, number)
        return made, Token(source.symbol, source.decimals), source.shown or "as the node shows it, which proves nothing"

    made, token, shown = ask(nodes, read)
    close_files()
    if csv_file is not None:
        write(csv_file, statement_csv(made, token).encode())
    if pdf_file is not None:
        write(pdf_file, page_of(made, token, shown))
    if line is not None:
        explained = made.numbered(line)
        if as_json:
            return print_json({**explanation_json(explained), "read": shown})
        print_line(made, explained, token)
    elif as_json:
        return print_json(statement_json(made, token, shown))
    else:
        print_statement(made, token)
    click.echo(shown if shown.startswith("proven") else f"read {shown}")


async def read_statement(read: Reader, network: str, period: int) -> Statement:
    """Ask for everything and add it up. What a node is asked while it settles a slot may not fit together: then again.

    Raises RefusedError: unknown-network, unknown-period, statement-mismatch.
    """
    for attempt in range(1, _TRIES + 1):
        try:
            return make_statement(await gather_facts(read, network, period))
        except RefusedError as error:
            if error.code != MISMATCH or attempt == _TRIES:
                raise
        await asyncio.sleep(_PAUSE_S)
    raise AssertionError("unreachable")


def page_of(made: Statement, token: Token, shown: str) -> bytes:
    """The statement's page. Raises RefusedError("no-pdf-library")."""
    try:
        from cli.statement_pdf import statement_pdf  # noqa: PLC0415  # an extra, and slow to load
    except ImportError as error:
        raise RefusedError("no-pdf-library", "install fpdf2, or wattledger with its extra: wattledger[pdf]") from error
    return statement_pdf(made, token, shown)


def write(path: Path, data: bytes) -> None:
    """Write a file whole, in place of an older one, or leave what was there. Raises RefusedError("cannot-write")."""
    try:
        if path.is_symlink() or (path.exists() and not path.is_file()):  # such as /dev/stdout, or a pipe
            path.write_bytes(data)
        else:
            part = path.with_name(f"{path.name}.part")
            try:
                part.write_bytes(data)
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)
    except OSError as error:
        raise RefusedError("cannot-write", f"{path}: {error.strerror}") from error
    click.echo(f"wrote {path}", err=True)
