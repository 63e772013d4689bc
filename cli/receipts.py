"""`--receipt`: on commands that send a transaction, keep the node's signed word that it has received it."""

from pathlib import Path

import click

from node.gateway.client import Client, Receipt
from node.light import MAX_EPOCHS
from node.model.transaction import decode_transaction

_KEY = "watt.receipts"


class Receipts:
    """Where a command keeps its receipts: a file, or one file for each transaction in a directory."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._own: set[Path] = set()

    def keep(self, chain: bytes, raw: bytes, receipt: Receipt | None, boundaries: tuple[bytes, ...]) -> None:
        """Write the receipt of a transaction just handed in. Raises ConfigError: "file-exists", "cannot-write"."""
        tx = decode_transaction(raw)
        if receipt is None:
            click.echo(f"no receipt of {tx.id.hex()}: an answer was lost, or the node is no member", err=True)
            return
        from node.received import make_receipt, write_receipt  # noqa: PLC0415 - a node's ledger, and few ask for one

        path = self._path / f"{tx.id.hex()}.receipt.json" if self._path.is_dir() else self._path
        document = make_receipt(chain, [tx], 0, receipt.member, receipt.height, receipt.signature, boundaries)
        # A transaction that is signed anew, since its nonce was taken, is the same command's: it takes the place.
        write_receipt(path, document, replace=path in self._own)
        self._own.add(path)


def _note(context: click.Context, parameter: click.Parameter, text: str | None) -> None:
    if text is None:
        return
    path = Path(text)
    if path.exists() and not path.is_dir():
        raise click.BadParameter(f"{path} is there already; it is not overwritten", param=parameter)
    if text.endswith("/") and not path.is_dir():
        raise click.BadParameter(f"there is no directory {path}; make it first", param=parameter)
    context.meta[_KEY] = Receipts(path)


receipt_option = click.option(
    "--receipt",
    metavar="PATH",
    expose_value=False,
    callback=_note,
    help="Keep the node's signed word that it received the transaction: a new file, or a directory for it.",
)


async def keep_receipt(client: Client, chain: bytes, raw: bytes, receipt: Receipt | None) -> None:
    """Where the running command was told to with --receipt; nowhere otherwise."""
    context = click.get_current_context(silent=True)
    receipts = None if context is None else context.meta.get(_KEY)
    if not isinstance(receipts, Receipts):
        return
    boundaries: tuple[bytes, ...] = ()
    while len(boundaries) < MAX_EPOCHS and (found := await client.boundaries(len(boundaries) + 1)):
        boundaries += found
    receipts.keep(chain, raw, receipt, boundaries)
