"""With whom a key is counted, and that the state is asked anew when keys in it change."""

from bench.crowd import key_of, settings
from chaincode.registry import Registry, default_registry
from node.ledger.chain import Ledger
from node.ledger.store import MemoryStore
from node.whose import Whose
from tests.ledger.chains import make_genesis


class Asked:
    """The contracts, and how often somebody wanted them."""

    def __init__(self) -> None:
        self.registry = default_registry()
        self.times = 0

    def __call__(self) -> Registry:
        self.times += 1
        return self.registry


def opened() -> tuple[Whose, Asked]:
    asked = Asked()
    return Whose(Ledger.open(MemoryStore(), make_genesis("test", **settings()), asked.registry), asked), asked


def test_devices_count_with_their_member_and_its_own_key_by_itself() -> None:
    """Checklist 6: an aggregator with hundreds of devices is one of the members."""
    whose, _ = opened()
    names = ("swarm/0", "swarm/1", "swarm", "north/0")
    found = [whose(key_of(name).public_key) for name in names]
    assert found == ["swarm-member", "swarm-member", "swarm-member", "north-member"]
    assert whose(key_of("swarm-member").public_key) == "swarm-member (own key)"
    assert whose(key_of("nobody").public_key) is None


def test_a_key_is_asked_for_once_until_keys_change() -> None:
    whose, asked = opened()
    key = key_of("swarm/0").public_key
    for _ in range(5):
        assert whose(key) == "swarm-member"
    assert asked.times == 1
    whose.committed([b"market-order/x", b"account/y"])
    times = asked.times
    assert whose(key) == "swarm-member" and asked.times == times
    whose.committed([b"role-key/" + key])
    times = asked.times
    assert whose(key) == "swarm-member" and asked.times == times + 1
    whose(key_of("nobody").public_key)
    whose(key_of("nobody").public_key)
    assert asked.times == times + 3, "it may be registered by the next block"


def test_a_changed_key_has_no_other_asked_for_and_changed_admins_all() -> None:
    """Checklist 6: whoever changes a key in every block costs the others nothing."""
    whose, asked = opened()
    mine, other = (key_of(name).public_key for name in ("swarm/0", "north/0"))
    assert whose(mine) and whose(other)
    whose.committed([b"role-key/" + mine + bytes(4), b"role-one-time/" + bytes(32)])
    times = asked.times
    assert whose(other) == "north-member" and asked.times == times
    assert whose(mine) == "swarm-member" and asked.times == times + 1
    whose.committed([b"role-admins/"])
    times = asked.times
    assert whose(other) == "north-member" and asked.times == times + 1
