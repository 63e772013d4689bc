"""What a command needs to speak to the network: nodes to ask, a key to sign with, patience until a block has it."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import click

from cli.output import json_option, print_json, refusals_to_exit_codes
from cli.receipts import keep_receipt, receipt_option
from cli.refusals import explain
from cli.units import clock
from node.errors import RefusedError
from node.gateway.client import Client, TxStatus, addresses_in
from node.gateway.proven import ProvenReader
from node.keyfile import read_passphrase
from node.model.keys import Signer
from node.model.transaction import sign_transaction
from node.signer import is_external, open_signer

DEFAULT_NODE = "127.0.0.1:7401"
WAIT_S = 30.0
NONCE_TRIES = 5
EXPIRES_S = 3_600
"""Block seconds for which a command's transaction stays valid."""

T = TypeVar("T")
C = TypeVar("C", bound=Callable[..., Any])

_KEY = "watt.key-file"
_PASSPHRASE = "watt.passphrase-file"
_ROOTS = "watt.ca-file"
_OPENED = "watt.opened-keys"
_CLIENT = "watt.client"


def _addresses(_: click.Context, param: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    try:
        return tuple(addresses_in(value))
    except RefusedError as error:
        raise click.BadParameter(error.message, param=param) from None


def _noted(name: str) -> Callable[[click.Context, click.Parameter, Path | None], Path | None]:
    """Keeps what a command was told for ``ask``, whether or not the command has a use for it itself."""

    def note(context: click.Context, _: click.Parameter, value: Path | None) -> Path | None:
        context.meta[name] = value
        return value

    return note


_nodes_option = click.option(
    "--node",
    "nodes",
    multiple=True,
    envvar="WATT_NODE",
    default=(DEFAULT_NODE,),
    show_default=True,
    metavar="HOST:PORT",
    callback=_addresses,
    help="A node's gateway; several are tried in turn. Also WATT_NODE, separated by spaces.",
)
ca_option = click.option(
    "--ca",
    "ca_file",
    type=click.Path(path_type=Path),
    envvar="WATT_CA",
    expose_value=False,
    callback=_noted(_ROOTS),
    help="Certificates (PEM) of those who vouch for gateways: TLS, and no others are asked. Also WATT_CA.",
)


def _key_option(help_text: str, *, required: bool = False, exposed: bool = True) -> Callable[[C], C]:
    return click.option(
        "--key",
        "key_file",
        type=click.Path(path_type=Path),
        required=required,
        envvar="WATT_KEY",
        expose_value=exposed,
        callback=_noted(_KEY),
        help=f"{help_text} Also WATT_KEY.",
    )


def _passphrase_option(*, exposed: bool = True) -> Callable[[C], C]:
    return click.option(
        "--passphrase-file",
        type=click.Path(path_type=Path),
        expose_value=exposed,
        callback=_noted(_PASSPHRASE),
        help="Read the passphrase from this file's first line; else WATT_PASSPHRASE, else a prompt.",
    )


key_option = _key_option("The key file to sign with.", required=True)
passphrase_option = _passphrase_option()


def node_option(command: C) -> C:
    """A command that reads: --node, --ca, and --key with --passphrase-file, which ``ask`` uses."""
    reading = _key_option("The key file to read with: what is not public is told to those who may know.", exposed=False)
    return _nodes_option(ca_option(reading(_passphrase_option(exposed=False)(command))))


def fetching_options(command: C) -> C:
    """A command that is told otherwise whom to ask: --ca, and --key with --passphrase-file to read with."""
    key = _key_option("The key file to read with.", exposed=False)
    return ca_option(key(_passphrase_option(exposed=False)(command)))


def signing_options(command: C) -> C:
    """A command that signs: --node, --ca, --key, --passphrase-file and --receipt."""
    return _nodes_option(ca_option(key_option(passphrase_option(receipt_option(command)))))


def word_options(command: C) -> C:
    """A command in which a key gives its word, and sends nothing: --node, --ca, --key, --passphrase-file."""
    return _nodes_option(ca_option(key_option(passphrase_option(command))))


class Signing(NamedTuple):
    """Whom a command hands what it signs, and with what: gateways, the key's file, the file of its passphrase."""

    nodes: tuple[str, ...]
    key_file: Path
    passphrase_file: Path | None

    def open(self) -> Signer:
        """The key, as ``open_key`` opens it."""
        return open_key(self.key_file, self.passphrase_file)


class _RuledError(RefusedError):
    """What the rules refuse a transaction: advice on reading would lead nowhere."""


def signed(command: Callable[..., None]) -> Callable[..., None]:
    """A command that signs and says what came of it: --node, --ca, --key, --passphrase-file and --receipt come to it as
    ``signing``, --json as ``as_json``; what is refused ends it with a line and an exit code."""

    @wraps(command)
    def gathered(nodes: tuple[str, ...], key_file: Path, passphrase_file: Path | None, **options: Any) -> None:
        command(signing=Signing(nodes, key_file, passphrase_file), **options)

    return signing_options(json_option(refusals_to_exit_codes(gathered)))


def may_sign_options(command: C) -> C:
    """A command that reads, or signs if it is told to do something: the same, and --key may be left out."""
    key = _key_option("The key file to read with, or to sign with.")
    return _nodes_option(ca_option(key(passphrase_option(receipt_option(command)))))


def ask(nodes: Sequence[str], use: Callable[[Client], Awaitable[T]]) -> T:
    """Open a client that reads with the command's key, await ``use(client)``, close it.

    Raises RefusedError: what ``use`` does, and of the key and the certificates that the command was told.
    """
    key, roots = reader(), trusted_roots()
    make: Callable[..., Client] = _told().get(_CLIENT) or Client

    async def main() -> T:
        async with make(nodes, key, roots) as client:
            try:
                return await use(client)
            except RefusedError as error:
                if key is None or error.code != "not-allowed" or not await _is_nobody(client):
                    raise
                raise RefusedError("unknown-sender", "this key acts for nobody here, and may read nothing") from error

    try:
        return asyncio.run(main())
    except RefusedError as error:
        if error.code not in _ADVICE or isinstance(error, _RuledError):
            raise
        raise RefusedError(error.code, f"{error.message}; {_ADVICE[error.code]}") from error


async def _is_nobody(client: Client) -> bool:
    """Whether the command's key may not even have a proof of what is public: that is for all who act for somebody."""
    try:
        await client.query_evidence("market", "settings", {})
    except RefusedError as error:
        return error.code == "not-allowed"
    return False


def reader() -> Signer | None:
    """The key that the running command is to read with."""
    key_file = _told().get(_KEY)
    return None if key_file is None else open_key(key_file, passphrase_told())


def trusted_roots() -> bytes | None:
    """The certificates that the running command is to trust."""
    path = _told().get(_ROOTS)
    if path is None:
        return None
    from node.pki.trust import load_roots  # noqa: PLC0415 - certificates are much to load, and TLS is not everywhere

    return load_roots(path)


def use_client(make: Callable[..., Client] | None) -> None:
    """What the running command is to speak to nodes with, made as ``Client`` is; None: ``Client`` itself."""
    _told()[_CLIENT] = make


def passphrase_told() -> Path | None:
    """The file that the running command's --passphrase-file names."""
    path: Path | None = _told().get(_PASSPHRASE)
    return path


def _told() -> dict[str, Any]:
    """What the running command was told and has opened; nothing if none runs."""
    context = click.get_current_context(silent=True)
    return {} if context is None else context.meta


def transact(
    nodes: tuple[str, ...],
    key_file: Path,
    passphrase_file: Path | None,
    contract: str,
    method: str,
    args: Callable[[Client], Awaitable[dict[str, Any]]],
) -> TxStatus:
    """Open the key, sign one call, wait until it is in a block. ``args`` may ask the node first.

    Raises RefusedError with the code of the node or of the rules that refused it.
    """
    key = open_key(key_file, passphrase_file)

    async def use(client: Client) -> TxStatus:
        account = Account(client, key, (await client.node_info()).chain)
        return await account.settle(contract, method, await args(client))

    return ask(nodes, use)


def done(status: TxStatus, as_json: bool) -> None:
    """Say in which block a transaction was executed."""
    if as_json:
        return print_json({"height": status.height, "result": status.result})
    click.echo(f"done in block {status.height}")


def open_key(key_file: Path, passphrase_file: Path | None) -> Signer:
    """The key in the file, its passphrase from a file, the environment or a prompt: asked for once in a command. Or the
    one that the program holds which the file names (``node/signer.py``)."""
    opened: dict[Path, Signer] = _told().setdefault(_OPENED, {})
    if key_file not in opened:
        is_here = not is_external(key_file)
        passphrase = read_passphrase_or_ask(passphrase_file, str(key_file)) if is_here else ""
        opened[key_file] = open_signer(key_file, passphrase)
    return opened[key_file]


def read_passphrase_or_ask(passphrase_file: Path | None, what: str) -> str:
    """The passphrase from a file, the environment or a prompt. Raises RefusedError("no-passphrase")."""
    return _read_or_prompt(passphrase_file, f"Passphrase of {what}", is_new=False)


def new_passphrase(passphrase_file: Path | None) -> str:
    """The passphrase for a new key from a file, the environment, or a prompt that asks twice."""
    return _read_or_prompt(passphrase_file, "New passphrase", is_new=True)


def _read_or_prompt(passphrase_file: Path | None, question: str, *, is_new: bool) -> str:
    passphrase = read_passphrase(passphrase_file)
    if passphrase is not None:
        return passphrase
    if not sys.stdin.isatty():
        raise RefusedError(
            "no-passphrase",
            "none is given, and there is no terminal to ask at: --passphrase-file FILE or WATT_PASSPHRASE",
        )
    answer: str = click.prompt(question, hide_input=True, confirmation_prompt=is_new, err=True)
    return answer


def proven_at(read: ProvenReader) -> str:
    """Of which block the answers are true: an old one is certified too, so whoever reads judges by the time."""
    if read.oldest is None:
        return "at no block"
    return f"at block {read.oldest.height} of {clock(read.oldest.time)} or later"


class Account:
    """A key on a network: signs, numbers and settles transactions. The nonce is learnt from the ledger once."""

    def __init__(self, client: Client, signer: Signer, chain: bytes) -> None:
        self._client = client
        self._signer = signer
        self._chain = chain
        self._highest: int | None = None

    async def sign(self, contract: str, method: str, args: dict[str, Any], not_after: int) -> bytes:
        """The bytes of the key's next transaction, void after block time ``not_after``."""
        if self._highest is None:
            self._highest = await self._client.nonce(self._signer.public_key)
        self._highest += 1
        try:
            return sign_transaction(self._signer, self._chain, self._highest, contract, method, args, not_after).raw
        except OverflowError as error:
            raise RefusedError("out-of-range", f"{contract}.{method}: an integer beyond 64 bits") from error

    async def settle(self, contract: str, method: str, args: dict[str, Any]) -> TxStatus:
        """Sign, hand in, wait. A nonce that another program took meanwhile is replaced: with it nothing was done.

        Raises RefusedError: the gateway's code, the rules' code, or "timed-out".
        """
        status = await self.outcome(contract, method, args)
        if status.code != "ok":
            decimals = (await self._client.node_info()).token_decimals
            raise _RuledError(status.code, explain(f"{contract}.{method}", status.code, status.details, decimals))
        return status

    async def outcome(self, contract: str, method: str, args: dict[str, Any]) -> TxStatus:
        """``settle``, but what the rules refuse is an answer too. Raises RefusedError: the gateway's code, or
        "timed-out".
        """
        for attempt in range(NONCE_TRIES):
            info = await self._client.node_info()
            not_after = info.now + EXPIRES_S
            try:
                raw = await self.sign(contract, method, args, not_after)
                tx_id, receipt = await self._client.submit_for_receipt(raw)
                await keep_receipt(self._client, self._chain, raw, receipt)
                status = await self._wait(tx_id, not_after)
                if status.code not in _NONCE_CODES:
                    return status
            except RefusedError as error:
                if error.code not in _NONCE_CODES:
                    raise
            self._highest = None
            await asyncio.sleep(0.1 * attempt)
        raise RefusedError(
            "nonce-used", "an earlier transaction of this key is still waiting, or another program uses the key"
        )

    async def _wait(self, tx_id: bytes, not_after: int) -> TxStatus:
        try:
            return await self._client.wait(tx_id, WAIT_S)
        except RefusedError as error:
            if error.code not in ("timed-out", "unreachable"):
                raise
            raise RefusedError(
                error.code,
                f"{error.message}; handed in already, it may still be executed until {clock(not_after)} block time "
                f"(UTC): ask with the same key, `watt wallet status {tx_id.hex()}`",
            ) from error

    def forget_nonce(self) -> None:
        """Learn it from the ledger again: after transactions that may not have arrived."""
        self._highest = None


_NONCE_CODES = ("nonce-used", "nonce-out-of-window")
_ADVICE = {
    "sign-first": "name a key that may see it with --key FILE or WATT_KEY",
    "not-allowed": "read with its own, its owner's, its member's or an auditor's key (--key FILE or WATT_KEY), or have "
    "one of these let yours see it: `watt wallet access grant --help`",
    "upgrade-missing": "have the bundle from whoever proposed it, then `watt node upgrade install DIR --client`",
    "unknown-sender": "it was never registered, or another one is in its place, or it was reset: name the one in "
    "use with --key FILE, or have a new one made by a code (`watt wallet reset-key`, `watt wallet enrol`)",
}
"""What can be done about it."""
