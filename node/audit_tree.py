"""The state tree of a replay, kept by a process of its own.

A header names the root of the state after its block, and the next block is executed on that header's hash; nothing else
of the replay hangs on the tree. So the replay takes the root at the stored header's word and goes on, while the other
process makes the same changes in a tree and compares. What was believed wrongly is found out some blocks later: before
the audit says that the chain holds, and before it says of a later block that it does not.
"""

import signal
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import islice
from multiprocessing import get_context
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Final

from node.audit_ahead import bad
from node.errors import NodeFault
from node.ledger.layout import NODE, after_prefix
from node.ledger.merkle import TreeUpdate
from node.ledger.store import MemoryStore
from node.ledger.tree import Tree

BLOCKS_WORTH: Final = 256
"""From so many blocks on a process is worth its start."""
ENTRIES_AT_ONCE: Final = 1024
"""Entries, and nodes, of a whole tree that are sent together."""


class BelievedTree(Tree):
    """Says what it is told of the root, and holds nothing. Nothing is read of it."""

    def __init__(self, root: bytes) -> None:
        self.believed = root
        super().__init__(MemoryStore())

    @property
    def root(self) -> bytes:
        return self.believed

    def update(self, changes: Mapping[bytes, bytes | None]) -> TreeUpdate:
        return TreeUpdate(self.believed, {})

    def puts(self, height: int, changes: Mapping[bytes, bytes | None]) -> dict[bytes, bytes | None]:
        return {}

    def apply(self, height: int, update: TreeUpdate) -> None:
        pass


class TreeKeeper:
    """The other process. What is on its way to it is bounded by what a pipe holds: who tells it more waits."""

    def __init__(self) -> None:
        context = get_context("spawn")
        self._link, far = context.Pipe()
        self._process = context.Process(target=_keep, args=(far,), daemon=True)
        self._process.start()
        far.close()
        self._settled = False

    def __enter__(self) -> "TreeKeeper":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._link.close()  # it ends when it finds that nobody is there
        self._process.join()

    def begin(self, height: int, root: bytes, entries: Iterator[tuple[bytes, bytes]]) -> None:
        """The tree to begin with, after the block at ``height``: keys with what is stored there."""
        while some := dict(islice(entries, ENTRIES_AT_ONCE)):
            self.tell(height, None, some)
        self.tell(height, root, {})

    def tell(self, height: int, root: bytes | None, changes: Mapping[bytes, bytes | None]) -> None:
        """The block at ``height`` makes ``changes`` (key to stored value, None to delete), its header names ``root``;
        None if more of the same block is still to come.

        Raises what ``settle`` raises, if that of a block before is known to be wrong.
        """
        try:
            self._link.send((height, root, changes))
        except OSError:
            self._verdict()

    def settle(self) -> None:
        """Wait until all is compared; nothing is told afterwards. Raises RefusedError("bad-chain") for the first block
        whose header names another root, NodeFault("machine") if the process has ended."""
        if self._settled:
            return
        self._settled = True
        with suppress(OSError):  # it may have ended: why is still to be read
            self._link.send(None)
        self._verdict()

    def nodes(self) -> Iterator[tuple[bytes, bytes]]:
        """What a store keeps of the tree, in the order of the keys; once, after ``settle``. Raises as that."""
        while some := self._heard():
            yield from some

    def _heard(self) -> Any:
        try:
            return self._link.recv()
        except (EOFError, OSError) as error:
            raise NodeFault("machine", "the process that keeps the audit's tree has ended") from error

    def _verdict(self) -> None:
        verdict = self._heard()
        if verdict is not None:
            height, root = verdict
            self._settled = True
            raise wrong_header(height, root)


def wrong_header(height: int, root: bytes) -> Exception:
    """The stored header is not that of the block as it was executed, which gives ``root``."""
    return bad(height, f"its header is not what execution gives, state root {root.hex()[:16]}")


def _keep(link: Connection) -> None:
    """What the other process does: compare until None comes or a root is another; then send the nodes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends with the audit, which says more
    store = MemoryStore()
    tree = Tree(store)
    try:
        while (told := link.recv()) is not None:
            height, root, changes = told
            update = tree.update(changes)
            if root is not None and update.root != root:
                return link.send((height, update.root))
            store.write(tree.puts(height, changes))
            tree.apply(height, update)
        link.send(None)
        nodes = store.scan(NODE, after_prefix(NODE))
        while some := list(islice(nodes, ENTRIES_AT_ONCE)):
            link.send(some)
        link.send([])
    except (EOFError, BrokenPipeError):
        return  # the audit has ended
