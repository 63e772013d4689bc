"""With whom what a key sends is counted: asked of the contracts once, and again when the keys in the state change."""

from collections.abc import Callable, Iterable

from chaincode.registry import Registry
from node.ledger.chain import Ledger
from node.limits import KEYS_REMEMBERED
from node.witness import ReadOnlyState, query_context


class Whose:
    """``registry``: the contracts by the state after the head."""

    def __init__(self, ledger: Ledger, registry: Callable[[], Registry]) -> None:
        self._ledger = ledger
        self._registry = registry
        self._known: dict[bytes, str] = {}

    def __call__(self, key: bytes) -> str | None:
        """The member, or "" for those who belong to none, as the admins of validators. None for a key that nobody
        knows: a nonce entry for a stranger would be in the state for ever, for nothing."""
        found = self._known.get(key)
        if found is None:
            ctx = query_context(self._ledger.head, ReadOnlyState(self._ledger.state), key)
            found = self._registry().whose(ctx, key)
            if found is not None:
                if len(self._known) >= KEYS_REMEMBERED:
                    self._known.clear()
                self._known[key] = found
        return found

    def committed(self, changed: Iterable[bytes]) -> None:
        """A block is stored that changed these keys of the state."""
        standing = self._registry().standing
        if self._known and any(key.startswith(standing) for key in changed):
            self._known.clear()
