"""What lies on disk, opened and checked before a node runs; and the ways in which it may be damaged, told apart.

What is wrong with the configuration, keys or database stops the node, with one line that says which file, and what is
wrong with it; what to do, the command adds (``cli/advice.py``). A damaged vote log does not: what it held is lost, and
what that means the consensus core knows (``node/votelog.py``).
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from chaincode.registry import Registry
from node.config import Config
from node.consensus.records import first_records
from node.consensus.settings import Memory
from node.errors import ConfigError, NodeFault
from node.executor import Executor
from node.files import OsDirectory
from node.gateway.certificate import GatewayCertificate, open_gateway_certificate, open_operators
from node.ledger.chain import Ledger
from node.ledger.store import LevelStore, Store
from node.model.genesis import Genesis
from node.pki.serving import OperatorsPort
from node.setup import DATABASE_NAME, VOTES_NAME, Identity, check_membership, open_identity
from node.snapshot.shelf import require_joined
from node.upgrades.library import node_registry
from node.votelog import VoteLog

log = logging.getLogger("watt.node")


@dataclass(frozen=True)
class Opened:
    """Everything of a node that lies on disk."""

    config: Config
    identity: Identity
    certificate: GatewayCertificate | None
    operators: OperatorsPort | None
    registry: Registry
    store: Store
    ledger: Ledger
    vote_log: VoteLog
    records: Sequence[bytes]


def open_node(config: Config, passphrase: str) -> Opened:
    """Open a node's files; makes the database at the very first start.

    Raises ConfigError (``node/setup.py``, ``node/gateway/certificate.py``, ``require_joined``, ``LevelStore``,
    ``Ledger.open``; "db-missing" if it is gone, though this node has run; "upgrade-missing" if the next block cannot be
    executed for lack of a bundle) and NodeFault (``VoteLog.open``).
    """
    identity = open_identity(config, passphrase)
    certificate = open_gateway_certificate(config, passphrase)
    operators = open_operators(config, certificate)
    data = config.path(config.data_dir)
    require_joined(data)
    store = _open_store(data)
    try:
        registry = node_registry(data)  # not before: it takes a while, and what is refused is refused at once
        ledger = Ledger.open(store, identity.genesis, registry)
        check_membership(config, identity, ledger.epochs(), ledger.head.height + 1)
        require_upgrades(ledger, registry, identity.genesis)
        vote_log, records = _open_vote_log(data, identity.genesis.chain, ledger)
    except BaseException:
        store.close()
        raise
    return Opened(config, identity, certificate, operators, registry, store, ledger, vote_log, records)


def require_upgrades(ledger: Ledger, registry: Registry, genesis: Genesis) -> None:
    """Raises ConfigError("upgrade-missing"): to start would be to stop again."""
    try:
        Executor(ledger, registry, genesis).require_upgrades()
    except NodeFault as fault:
        raise ConfigError(fault.code, fault.message) from fault


def _open_store(data: Path) -> LevelStore:
    database = data / DATABASE_NAME
    try:
        is_new = not VoteLog.is_in_use(OsDirectory(data / VOTES_NAME))
        database.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError("cannot-write", f"{database}: {error.strerror}") from error
    return LevelStore(database, create=is_new)


def _open_vote_log(data: Path, chain: bytes, ledger: Ledger) -> tuple[VoteLog, list[bytes]]:
    epoch = ledger.epoch_at(ledger.head.height + 1).number
    directory = OsDirectory(data / VOTES_NAME)
    vote_log, records = VoteLog.open(directory, chain, epoch, lost_records=first_records(Memory.LOST))
    if vote_log.torn_bytes:
        log.warning("vote-log-torn bytes=%d: an unfinished write at the log's end was dropped", vote_log.torn_bytes)
    if vote_log.set_aside:
        log.error(
            "vote-log-lost directory=%s: %s. What this member has voted for is not known here any more. It follows, "
            "and does not vote, until the others have shown how far its votes may reach, and it has a block beyond",
            data / VOTES_NAME,
            vote_log.set_aside,
        )
    return vote_log, records
