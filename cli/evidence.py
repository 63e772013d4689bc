"""`watt node verify --evidence`: what a file of evidence, or a receipt, proves to whoever has the genesis document."""

from pathlib import Path
from typing import Any

import click
import msgspec

from chaincode.registry import default_registry
from cli.output import plain, print_json
from node.errors import RefusedError
from node.evidence import MAX_EVIDENCE_FILE_BYTES, check_evidence, parse_evidence, proven_epochs
from node.files import read_start
from node.ledger.chain import Ledger
from node.ledger.store import LevelStore
from node.model.genesis import Genesis
from node.model.keys import verify
from node.received import RECEIPT_KIND, Fate, ReceivedFile, check_receipt, fate_of, parse_receipt
from node.setup import DATABASE_NAME


class _Kind(msgspec.Struct):
    """What tells the two kinds of files apart; all else is read by whose it is."""

    kind: str = ""


def verify_evidence(path: Path, genesis: Genesis, data: Path | None, *, as_json: bool) -> None:
    """Check the file and say what it proves. ``data``: a stopped node's data directory, for what became of a
    transaction; evidence of lies needs none.

    Raises RefusedError: "no-evidence" (the file cannot be read), "bad-evidence", and what ``check_evidence`` and
    ``check_receipt`` raise of a file that proves nothing.
    """
    content = _read(path)
    try:
        kind = msgspec.json.decode(content, type=_Kind).kind
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RefusedError("bad-evidence", f"{path}: {error}") from error
    if kind == RECEIPT_KIND:
        return _verify_receipt(parse_receipt(content, str(path)), genesis, data, as_json)
    found = check_evidence(parse_evidence(content, str(path)), genesis)
    if as_json:
        return print_json({"file": str(path), **found._asdict()})
    click.echo(plain(f"proven: {found.what}"))


def _read(path: Path) -> bytes:
    try:
        return read_start(path, MAX_EVIDENCE_FILE_BYTES)
    except OSError as error:
        raise RefusedError("no-evidence", f"{path}: {error.strerror}") from error


def _verify_receipt(document: ReceivedFile, genesis: Genesis, data: Path | None, as_json: bool) -> None:
    fate: Fate | None = None
    if data is None:
        received = check_receipt(document, genesis.chain, proven_epochs(genesis, document.boundaries, verify))
    else:
        store = LevelStore(data / DATABASE_NAME, create=False)
        try:
            ledger = Ledger.open(store, genesis, default_registry())
            received = check_receipt(document, genesis.chain, ledger.epochs())
            fate = fate_of(received, ledger)
        finally:
            store.close()
    tx_id = received.transaction.id
    if as_json:
        facts: dict[str, Any] = {"kind": RECEIPT_KIND, "name": received.name, "height": received.height}
        return print_json(facts | {"transaction": tx_id} | (fate._asdict() if fate is not None else {}))
    click.echo(plain(f"proven: {received.name} received {tx_id.hex()} when its chain stood at block {received.height}"))
    if fate is not None:
        click.echo(f"{'neglected' if fate.neglected else 'not neglected'}: {fate.why}")
