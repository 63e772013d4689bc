"""What a command needs to speak to the network: nodes to ask, a key to sign with, patience until a block has it."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from cli.output import print_json
from cli.receipts import keep_receipt, receipt_option
from cli.refusals import explain
from cli.units import clock
from node.errors import RefusedError
from node.gateway.client import Client, TxStatus, addresses_in
from node.gateway.client import run as run_client
from node.gateway.proven import ProvenReader
from node.keyfile import load_key, read_passphrase
from node.model.keys import Signer, SigningKey
from node.model.transaction import sign_transaction

DEFAULT_NODE = "127.0.0.1:7401"
WAIT_S = 30.0
NONCE_TRIES = 5
EXPIRES_S = 3_600
"""Block seconds for which a command's transaction stays valid."""

T = TypeVar("T")
C = TypeVar("C", bound=Callable[..., Any])


def _addresses(_: click.Context, param: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    try:
        return tuple(addresses_in(value))
    except RefusedError as error:
        raise click.BadParameter(error.message, param=param) from None


node_option = click.option(
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
genesis_option = click.option(
    "--genesis",
    "genesis_file",
    type=click.Path(path_type=Path),
    help="Your own copy of the network's genesis.json: trust no node, check every answer's proof.",
)
key_option = click.option(
    "--key",
    "key_file",
    type=click.Path(path_type=Path),
    required=True,
    envvar="WATT_KEY",
    help="The key file to sign with. Also WATT_KEY.",
)
passphrase_option = click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path),
    help="Read the passphrase from this file's first line; else WATT_PASSPHRASE, else a prompt.",
)


def signing_options(command: C) -> C:
    """A command that signs: --node, --key, --passphrase-file and --receipt."""
    return node_option(key_option(passphrase_option(receipt_option(command))))


def ask(nodes: tuple[str, ...], use: Callable[[Client], Awaitable[T]]) -> T:
    """Open a client, await ``use(client)``, close it."""
    return run_client(nodes, use)


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


def open_key(key_file: Path, passphrase_file: Path | None) -> SigningKey:
    """The key in the file, its passphrase from a file, the environment or a prompt."""
    return load_key(key_file, read_passphrase_or_ask(passphrase_file, str(key_file)))


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
        raise RefusedError("no-passphrase", "none is given, and there is no terminal to ask at")
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
            raise RefusedError(status.code, explain(f"{contract}.{method}", status.code, status.details, decimals))
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
                f"(UTC): ask with `watt wallet status {tx_id.hex()}`",
            ) from error

    def forget_nonce(self) -> None:
        """Learn it from the ledger again: after transactions that may not have arrived."""
        self._highest = None


_NONCE_CODES = ("nonce-used", "nonce-out-of-window")
