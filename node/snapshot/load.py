"""From chunks to a ledger: what a store holds of a snapshot."""

from collections.abc import Callable, Sequence

from node.ledger.chain import base_puts
from node.ledger.layout import STATE
from node.ledger.store import Store
from node.ledger.tree import stored
from node.model.epoch import Boundary
from node.model.genesis import Genesis
from node.snapshot.chunks import checked_entries
from node.snapshot.offer import Target


def load(
    store: Store,
    genesis: Genesis,
    target: Target,
    boundaries: Sequence[Boundary],
    chunk: Callable[[str], bytes],
    progress: Callable[[], None] = lambda: None,
) -> None:
    """Make of an empty store one that ``Ledger.open`` takes, with ``target`` as its base.

    ``boundaries``: of the epochs, as ``base_puts`` takes them; ``chunk``: a chunk's bytes by its prefix. Each is
    checked. The mark that makes it a ledger is written last. Raises CodecError for a chunk, StoreFault.
    """
    store.write(stored(target.upper))
    for prefix, top in target.tops.items():
        entries, nodes = checked_entries(prefix, top, chunk(prefix))
        store.write({STATE + key: value for key, value in entries.items()} | stored(nodes))
        progress()
    store.write(base_puts(genesis, target.header, target.certificate, boundaries))
