"""With whom what a key sends is counted: asked of the contracts once, and again when the keys in the state change."""

from collections.abc import Callable, Iterable

from chaincode.registry import Registry
from node.ledger.chain import Ledger
from node.ledger.reading import head_context
from node.limits import KEYS_REMEMBERED
from node.model.keys import PUBLIC_KEY_BYTES


class Whose:
    """``registry``: the contracts by the state after the head."""

    def __init__(self, ledger: Ledger, registry: Callable[[], Registry]) -> None:
        self._ledger = ledger
        self._registry = registry
        self._known: dict[bytes, str] = {}
        self._asked: Registry | None = None

    def __call__(self, key: bytes) -> str | None:
        """The member, or "" for those who belong to none, as the admins of validators. None for a key that nobody
        knows: a nonce entry for a stranger would be in the state for ever, for nothing."""
        found = self._known.get(key)
        if found is None:
            ctx = head_context(self._ledger, key)
            registry = self._registry()
            self._asked = self._asked or registry
            found = registry.whose(ctx, key)
            if found is not None:
                if len(self._known) >= KEYS_REMEMBERED:
                    self._known.clear()
                self._known[key] = found
        return found

    def committed(self, changed: Iterable[bytes]) -> None:
        """A block is stored that changed these keys of the state. In the tables that the contracts name, a public key
        comes first if anything as long does: then the answer for that one is asked for anew, else all are. So a member
        that changes a key in every block has nobody asked for but itself."""
        registry = self._registry()
        if registry is not self._asked:  # an upgrade may answer otherwise
            self._known.clear()
            self._asked = registry
        for key in changed if self._known else ():
            for table in registry.standing:
                if key.startswith(table):
                    if len(key) < len(table) + PUBLIC_KEY_BYTES:
                        self._known.clear()
                        return
                    self._known.pop(key[len(table) : len(table) + PUBLIC_KEY_BYTES], None)
