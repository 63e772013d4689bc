"""`watt wallet enrol | reset-key`, `watt admin device enrol`: codes by which a device enrols a key of its own.

A code is a secret, so it is no argument of a command: arguments are in lists of processes and histories of shells. It
is read at a prompt that does not show it, from standard input, or from a file; it is written to a terminal or a file
that its owner alone can read, and into JSON only on request. The one-time key in it never touches a disk here.
"""

import io
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click
import segno

from chaincode.enrolments import DEVICE, MAX_ENROLMENT_S, MEMBER, METER, NETWORK
from cli.answers import record
from cli.confirm import confirm, yes_option
from cli.output import json_option, print_json, refusals_to_exit_codes
from cli.refusals import explain
from cli.session import (
    Account,
    ca_option,
    new_passphrase,
    open_key,
    passphrase_option,
    signing_options,
    transact,
    trusted_roots,
)
from cli.units import Count, clock
from node.enrolment import MAX_CODE_CHARACTERS, Enrolment, enrol_args, one_time_proof, read_code
from node.errors import ConfigError, RefusedError
from node.gateway.client import Client, addresses_in
from node.gateway.client import run as run_client
from node.keyfile import save_key, write_private
from node.model.keys import Signer, generate_key
from node.secrecy import close_memory

KINDS: Final = {"device": DEVICE, "meter": METER, "owner": NETWORK, "member": MEMBER}
"""What people call the kinds of ``chaincode/enrolments.py``."""
SUBJECT: Final = {"device": "device", "meter": "device", "owner": "network", "member": "member"}
"""The argument that names whose key it is."""
_HOUR_S: Final = 3600

T = TypeVar("T")
C = TypeVar("C", bound=Callable[..., Any])


def code_options(command: C) -> C:
    """A command that makes a code: --hours, --gateway, --code-file, --show-code."""
    hours = Count(1, MAX_ENROLMENT_S // _HOUR_S)
    for option in (
        click.option("--show-code", is_flag=True, help="With --json: print the code, too."),
        click.option(
            "--code-file",
            type=click.Path(path_type=Path),
            help="Write the code to this new file instead of showing it.",
        ),
        click.option(
            "--gateway",
            "gateways",
            multiple=True,
            help="The gateways that the device is to use. Default: those that this command asks.",
        ),
        click.option("--hours", type=hours, default=24, show_default=True, help="For how long the code is good."),
    ):
        command = option(command)
    return command


class NewCode:
    """A code under way: what was asked for, the one-time key, and how it is shown. ``gateways``: those to write in; if
    none are named, those that the command itself asks."""

    def __init__(
        self,
        kind: str,
        name: str,
        hours: int,
        gateways: tuple[str, ...],
        code_file: Path | None,
        as_json: bool,
        show: bool,
    ) -> None:
        """Raises RefusedError("bad-address"); ConfigError("key-exists"); UsageError if nobody would get to see the
        code."""
        if as_json and not show and code_file is None:
            raise click.UsageError("with --json say --code-file FILE, or --show-code: the code is a secret")
        if code_file is not None and code_file.exists():  # found out afterwards, the key is gone and the code, too
            raise ConfigError("key-exists", f"{code_file} is there already; it is never overwritten")
        close_memory()
        self._kind, self._name, self._hours = kind, name, hours
        self._gateways = tuple(addresses_in(gateways)) if gateways else ()
        self._file, self._as_json, self._show = code_file, as_json, show
        self._seed = generate_key().seed
        self._made: Enrolment | None = None

    async def args(self, client: Client, by: bytes) -> dict[str, Any]:
        """The public key, until when it may enrol, and its word that it is to; ``by``: the key that signs the call."""
        info = await client.node_info()
        until = info.now + self._hours * _HOUR_S
        gateways = self._gateways or client.addresses
        self._made = Enrolment(info.chain, self._kind, self._name, until, gateways, self._seed)
        self._made.code()  # refused before anything is done, if it cannot be written
        key, proof = self._made.one_time_key.public_key, one_time_proof(self._made, by)
        return {"one_time_key": key, "until": until, "proof": proof}

    def tell(self, height: int) -> None:
        """Show the code, or write it to its file; it is good from block ``height`` on."""
        assert self._made is not None, "told before it was made"
        code, until = self._made.code(), self._made.until
        if self._file is not None:
            write_private(self._file, code.encode() + b"\n")
        if self._as_json:
            shown = {"code": code} if self._show else {}
            where = None if self._file is None else str(self._file)
            return print_json(
                {"kind": self._kind, "name": self._name, "until": until, "height": height, "code_file": where, **shown}
            )
        if self._file is not None:
            return click.echo(f"the code for {self._name} is in {self._file}, good until {clock(until)} UTC block time")
        click.echo(
            f"The code for {self._name}, good once and until {clock(until)} UTC block time; who has it first, has"
        )
        click.echo("the key. On the device: watt wallet enrol --out KEYFILE\n")
        click.echo(code + "\n")
        if sys.stdout.isatty():
            picture = io.StringIO()
            segno.make(code, error="m").terminal(out=picture, compact=True)
            click.echo(picture.getvalue())
        return None


@click.command("reset-key")
@click.argument("name")
@click.option("--kind", type=click.Choice(tuple(KINDS)), default="device", show_default=True, help="Whose key is lost.")
@code_options
@yes_option
@signing_options
@json_option
@refusals_to_exit_codes
def reset_key(
    name: str,
    kind: str,
    hours: int,
    gateways: tuple[str, ...],
    code_file: Path | None,
    show_code: bool,
    yes: bool,
    nodes: tuple[str, ...],
    key_file: Path,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """The key of NAME is lost: it can do nothing more from now on; print a code by which another one is enrolled.

    A device's: its owner or its network's member signs. An owner's: the member. A meter's: an admin or the member. A
    member's: an admin. Orders, budgets and history stay with NAME.

    Example: watt wallet reset-key home-03/ev --key owner.key
    """
    new = NewCode(KINDS[kind], name, hours, gateways, code_file, as_json, show_code)
    confirm(f"End the key of {kind} {name}? It can do nothing more then, and does not come back.", yes=yes)

    async def args(client: Client) -> dict[str, Any]:
        signing = open_key(key_file, passphrase_file).public_key
        return {SUBJECT[kind]: name, **await new.args(client, signing)}

    new.tell(transact(nodes, key_file, passphrase_file, "keys", f"reset_{kind}_key", args).height)


@click.command()
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="The key file: made, or used if it is there."
)
@click.option("--code-file", type=click.File("rb"), help="Read the code from this file; - is standard input.")
@click.option(
    "--node", "given", multiple=True, envvar="WATT_NODE", help="Another gateway than the code's. Also WATT_NODE."
)
@ca_option
@passphrase_option
@json_option
@refusals_to_exit_codes
def enrol(out: Path, code_file: Any, given: tuple[str, ...], passphrase_file: Path | None, as_json: bool) -> None:
    """Make this device's own key, and name it to the network by a code, which is good once.

    The code is asked for and not shown; or give --code-file. What a camera read from the picture is the same text. If
    it was interrupted, run it again: the key in --out is used.

    Example: watt wallet enrol --out ev.key
    """
    close_memory()
    code = read_code(_code_text(code_file))
    nodes = tuple(addresses_in(given or code.gateways))
    was_there = out.exists()
    is_good = _talk(nodes, code, code.one_time_key, lambda client: _check(client, code))
    if not is_good and not was_there:
        raise RefusedError("code-used", f"this code for {code.name} has been used, or replaced: ask for another one")
    key = open_key(out, passphrase_file) if was_there else _new_key(out, passphrase_file)
    if is_good:
        _talk(nodes, code, code.one_time_key, lambda client: _send(client, code, key))
    else:
        _talk(nodes, code, key, lambda client: _require_done(client, code, key))
    if as_json:
        return print_json({"kind": code.kind, "name": code.name, "public_key": key.public_key, "file": str(out)})
    click.echo(f"{out} is the key of {code.kind} {code.name}: {key.public_key.hex()}")


def _code_text(file: Any) -> str:
    if file is None and sys.stdin.isatty():
        return str(click.prompt("Enrolment code (not shown)", hide_input=True, err=True))
    data: bytes = (file or sys.stdin.buffer).read(MAX_CODE_CHARACTERS + 1)
    return data.decode("ascii", "replace")


def _talk(nodes: tuple[str, ...], code: Enrolment, reader: Signer, use: Callable[[Client], Awaitable[T]]) -> T:
    return run_client(nodes, use, reader, trusted_roots())


async def _check(client: Client, code: Enrolment) -> bool:
    """Whether the code is good. Raises RefusedError: "wrong-network", "enrolment-over"."""
    info = await client.node_info()
    if info.chain != code.chain:
        raise RefusedError("wrong-network", "the code is for another network than these gateways serve")
    found = await client.query("keys", "enrolment", {"one_time_key": code.one_time_key.public_key})
    if found is None:
        return False
    until = int(record(found, ("kind", "name", "until"))["until"])
    if until < info.now:
        raise RefusedError("enrolment-over", explain("keys.enrol", "enrolment-over", (until,), 0))
    return True


async def _send(client: Client, code: Enrolment, key: Signer) -> None:
    await Account(client, code.one_time_key, code.chain).settle("keys", "enrol", enrol_args(code, key))


async def _require_done(client: Client, code: Enrolment, key: Signer) -> None:
    """The code is dead, and ``key`` is why. Raises RefusedError("code-used")."""
    uses = await client.query("identity", "whoami", {"key": key.public_key})
    if not isinstance(uses, tuple) or (code.kind, code.name) not in uses:
        raise RefusedError("code-used", f"this code for {code.name} has been used, or replaced: ask for another one")


def _new_key(out: Path, passphrase_file: Path | None) -> Signer:
    passphrase = new_passphrase(passphrase_file)
    if not passphrase:
        raise RefusedError("no-passphrase", "an empty passphrase protects nothing")
    key = generate_key()
    save_key(out, key, passphrase)
    return key
