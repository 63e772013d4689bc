"""The street of ``marketplace`` with validators whose admins may change the market's rules."""

from typing import Any, cast

from chaincode.ballot import NOTICE
from chaincode.contract import Value
from chaincode.market_products import Settings
from chaincode.registry import default_registry
from tests.chaincode.marketplace import DEVICES, STREET, settings
from tests.chaincode.town import NAMES, admin, key, pem
from tests.chaincode.world import World


class Council(World):
    """A world with four validators. ``market``: genesis settings of the market; ``start``: its first block's time."""

    def __init__(self, *, start: int = 0, **market: Value) -> None:
        parts = settings(DEVICES, STREET, **market)
        parts["governance"] = {
            "validators": tuple((name, key(name).hex(), pem(name)) for name in NAMES),
            "admins": tuple((name, admin(name).hex()) for name in NAMES),
        }
        super().__init__(default_registry(), parts, time=start)

    def propose(self, who: str, *, at: int | None = None, **changes: Any) -> tuple[int, bytes, int]:
        """Propose ``changes``, tariffs among them or not; (number, digest, approvals missing)."""
        answer = self.call(admin(who), "rules", "propose", **self.proposed(at, changes))
        return cast("tuple[int, bytes, int]", answer)

    def proposed(self, at: int | None, changes: dict[str, Any]) -> dict[str, Any]:
        """The arguments of a proposal."""
        tariffs = changes.pop("tariffs", ())
        first = self.height + NOTICE if at is None else at
        return {"first_height": first, "settings": tuple(changes.items()), "tariffs": tariffs}

    def approve(self, who: str, number: int, digest: bytes) -> int:
        """Approve; how many approvals are missing."""
        return cast("int", self.call(admin(who), "rules", "approve", proposal=number, digest=digest))

    def decide(self, *, at: int | None = None, **changes: Any) -> int:
        """Let three of four decide ``changes``; the height from which on they are in force."""
        number, digest, _ = self.propose("ada", at=at, **changes)
        self.approve("bob", number, digest)
        assert self.approve("cyd", number, digest) == 0
        return self.height + NOTICE if at is None else at

    def change(self, **changes: Any) -> None:
        """Decide ``changes`` and go on to the block from which on they are in force, no time having passed."""
        self.height = self.decide(**changes) - 1
        self.next_block()

    def rules(self) -> Settings:
        """The rules as they are now."""
        return Settings(*cast("Settings", self.query("market", "settings")))

    def products(self) -> dict[int, Any]:
        """The products that are open or not yet final, by slot: the rows of ``market.product``."""
        return {row[0]: row for row in cast("tuple[Any, ...]", self.query("market", "products"))}
