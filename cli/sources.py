"""Reading the market without a node that runs: from the data directory of one that is stopped; and writing down
proven answers, from whichever source, for those who have neither."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import click

from chaincode.contract import ContractError
from cli.answers import Reader
from cli.units import clock
from node.config import load_config
from node.epochs import verified_epochs
from node.errors import RefusedError
from node.executor import Executor
from node.export import About, Exporter
from node.gateway.client import Evidence
from node.gateway.proven import Keep
from node.ledger.chain import Ledger
from node.ledger.store import LevelStore
from node.model.block import encode_header
from node.model.certificate import encode_certificate
from node.model.codec import Value
from node.model.epoch import encode_boundary
from node.model.genesis import Genesis, load_genesis
from node.model.keys import verify
from node.setup import DATABASE_NAME
from node.upgrades.library import node_registry
from node.witness import proven_answer

config_option = click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    help="A stopped node's node.toml: read its data, ask no gateway.",
)


class Source(NamedTuple):
    """``read``: answers that can be believed as far as ``shown`` says, as a function since it may depend on what was
    read.
    """

    read: Reader
    shown: Callable[[], str]


class Recorder:
    """Writes a file of proven answers as soon as it is known what of; what was asked before that is not in it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._exporter: Exporter | None = None

    def begin(self, about: About) -> None:
        """What is asked from now on goes into the file."""
        self._exporter = Exporter(self._file, about)

    def keep(
        self, contract: str, method: str, args: Mapping[str, Any], evidence: Evidence, boundaries: Sequence[bytes]
    ) -> None:
        """Write an answer with its proofs."""
        if self._exporter is not None:
            asked = contract, method, args
            self._exporter.answer(asked, evidence.header, evidence.certificate, evidence.reads, boundaries)

    def end(self) -> int:
        """The size of the whole file in bytes."""
        assert self._exporter is not None, "ended before it began"
        self._exporter.close()
        return self._exporter.size


@contextmanager
def stopped_node(config_file: Path, keep: Keep | None = None) -> Iterator[tuple[Source, Genesis]]:
    """The data directory of a stopped node: every answer is proven by the certificate of its head. ``keep``: as in
    ``node.gateway.proven``. Raises RefusedError("no-block"), and what opening the data raises.
    """
    config = load_config(config_file)
    genesis = load_genesis(config.path(config.genesis))
    registry = node_registry(config.path(config.data_dir))
    store = LevelStore(config.path(config.data_dir) / DATABASE_NAME, create=False)
    try:
        ledger = Ledger.open(store, genesis, registry)
        certificate = ledger.head_certificate
        if certificate is None:
            raise RefusedError("no-block", "the ledger has no block with a certificate yet")
        boundaries = list(ledger.boundaries())
        known = genesis.chain, verified_epochs(genesis, boundaries, verify)
        encoded = [encode_boundary(boundary) for boundary in boundaries]
        header, proof = encode_header(ledger.head), encode_certificate(certificate)
        executor = Executor(ledger, registry, genesis)

        async def read(contract: str, method: str, args: Mapping[str, Any]) -> Value:
            try:
                _, reads = executor.query_proven(contract, method, args)
                if keep is not None:
                    keep(contract, method, args, Evidence(header, proof, reads), encoded)
                return proven_answer(registry, *known, ledger.head, certificate, reads, contract, method, args)
            except ContractError as error:
                raise RefusedError(error.code, error.message) from error

        head = f"block {ledger.head.height} of {clock(ledger.head.time)}"
        yield Source(read, lambda: f"with proofs under the certificate of {head}"), genesis
    finally:
        store.close()
