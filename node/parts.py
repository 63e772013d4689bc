"""What a running node consists of, but for its loop (``driver.py``) and its ports for clients and operators.

Each part is handed those that it needs when it is made, so the order in which they stand here is that in which they
rest on one another.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from node.backup import Backups
from node.consensus.messages import Message
from node.eraser import Eraser
from node.errors import NodeFault
from node.evidence import EvidenceFiles
from node.executor import Executor
from node.gateway.access import Access
from node.gateway.admission import Admission
from node.gateway.feed import Feed
from node.membership import Membership
from node.mempool import Mempool
from node.opening import Opened
from node.snapshot.maker import Maker
from node.snapshot.shelf import SNAPSHOTS_NAME, Shelf
from node.transport.links import Transport, TransportSettings
from node.upgrades.library import UPGRADES_NAME, Library
from node.upgrades.watching import UpgradeWatch
from node.verifier import Verifier
from node.whose import Whose

EVIDENCE_NAME: Final = "evidence"


@dataclass(frozen=True)
class Parts:
    """What votes and links need: ``verifier`` to ``membership``. What executes, and says who may do and see what:
    ``executor`` to ``feed``. What keeps the data small and safe: ``shelf`` to ``backups``."""

    verifier: Verifier
    evidence: EvidenceFiles
    transport: Transport
    membership: Membership

    executor: Executor
    upgrades: UpgradeWatch
    whose: Whose
    pool: Mempool
    admission: Admission
    access: Access
    feed: Feed

    shelf: Shelf
    maker: Maker
    eraser: Eraser
    backups: Backups


def assemble(
    opened: Opened,
    verifier: Verifier,
    receive: Callable[[str, Message], None],
    failed: Callable[[NodeFault], None],
) -> Parts:
    """The parts of the node whose files are open; nothing runs yet but ``verifier``. ``receive``: is given what peers
    send; ``failed``: is told what makes the node unfit to go on."""
    config, identity, ledger, store = opened.config, opened.identity, opened.ledger, opened.store
    data, genesis = config.path(config.data_dir), identity.genesis

    evidence = EvidenceFiles(data / EVIDENCE_NAME, genesis, ledger.boundaries)
    seat = ledger.epoch_at(ledger.head.height + 1).member(identity.name)
    settings = TransportSettings(genesis.chain, identity.name, config.peer.listen)
    transport = Transport(settings, identity.keys.tls(seat), (), receive)
    membership = Membership(identity, ledger, config.peer.addresses, transport)

    executor = Executor(ledger, opened.registry, genesis)
    upgrades = UpgradeWatch(executor, lambda: ledger.head.height)
    whose = Whose(ledger, lambda: executor.registry)
    pool = Mempool(ledger, max_transactions=config.limits.mempool_transactions, whose=whose)
    admission = Admission(pool, config.limits)
    access = Access(ledger, executor)
    feed = Feed(ledger, access)

    shelf = Shelf(data / SNAPSHOTS_NAME)
    maker = Maker(store, ledger, shelf, failed)
    eraser = Eraser(store, ledger, shelf, lambda: maker.is_busy, failed)
    backups = Backups(store, ledger, Library(data / UPGRADES_NAME), genesis, identity.name)
    return Parts(
        verifier=verifier,
        evidence=evidence,
        transport=transport,
        membership=membership,
        executor=executor,
        upgrades=upgrades,
        whose=whose,
        pool=pool,
        admission=admission,
        access=access,
        feed=feed,
        shelf=shelf,
        maker=maker,
        eraser=eraser,
        backups=backups,
    )
