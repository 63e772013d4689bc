"""A member's keys: which are used is said by the chain, whatever the files are called."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from node.config import Config, load_config
from node.errors import ConfigError
from node.keyfile import TESTNET
from node.keyring import KeyRing
from node.model.epoch import Epoch, Validator
from node.model.genesis import Member
from node.rotation import ENTRY_NAME, make_next_keys
from node.setup import CONFIG_NAME, Identity, NodeFiles, check_membership, init_node
from tests.ledger.epoch_chains import make_genesis

SECRET = "secret"


def known_as(member: Member) -> Validator:
    return Validator(member.name, member.public_key, member.tls_certificate)


@pytest.fixture
def home(tmp_path: Path) -> tuple[Config, Validator]:
    files = NodeFiles(tmp_path / "bob", "bob", "genesis.json", "127.0.0.1:7501", "127.0.0.1:7401", {})
    member = init_node(files, SECRET, TESTNET)
    return load_config(tmp_path / "bob" / CONFIG_NAME), known_as(member)


def code_of(use: Callable[[], object]) -> str:
    with pytest.raises(ConfigError) as caught:
        use()
    return caught.value.code


def test_next_keys_are_made_once_and_taken_up_when_they_are_named(home: tuple[Config, Validator]) -> None:
    """Checklist 50."""
    config, old = home
    running = KeyRing(config, SECRET)
    new = known_as(make_next_keys(config, SECRET, TESTNET))
    entry = msgspec.json.decode(config.path(ENTRY_NAME).read_bytes(), type=Member)
    assert known_as(entry) == new and new.public_key != old.public_key
    assert code_of(lambda: make_next_keys(config, SECRET, TESTNET)) == "key-exists"
    assert running.signer(new) is None  # made while it runs
    assert running.look_for(new) is not None
    for ring in (running, KeyRing(config, SECRET)):
        signer = ring.signer(new)
        assert signer is not None and signer.public_key.hex() == new.public_key
        assert ring.tls(new).certificate.decode() == new.tls_certificate
        assert ring.tls(old).certificate.decode() == old.tls_certificate
        assert ring.main.public_key.hex() == old.public_key
    running.take_up(old)
    assert KeyRing(config, SECRET).main.public_key.hex() == old.public_key
    running.take_up(new)
    for ring in (running, KeyRing(config, SECRET)):
        assert ring.main.public_key.hex() == new.public_key
        assert ring.signer(old) is not None  # to follow an old copy of the chain
        assert ring.tls(new).certificate.decode() == new.tls_certificate
        assert ring.tls(old).certificate.decode() == new.tls_certificate  # the others are ahead
    assert not list(config.path("").glob("*.next"))
    # The entry of the keys in use stays until others are made; one that says nothing is not touched.
    assert known_as(make_next_keys(config, SECRET, TESTNET)).public_key != new.public_key
    for made in config.path("").glob("*.next"):
        made.unlink()
    config.path(ENTRY_NAME).write_bytes(b"\xff{")
    assert code_of(lambda: make_next_keys(config, SECRET, TESTNET)) == "key-exists"


@pytest.mark.parametrize("done", range(4))
def test_a_crash_between_renamings_is_harmless(home: tuple[Config, Validator], done: int) -> None:
    config, old = home
    new = known_as(make_next_keys(config, SECRET, TESTNET))
    for name in (config.key_file, config.tls_key_file, config.tls_certificate)[:done]:
        path = config.path(name)
        path.with_name(path.name + ".before").hardlink_to(path)
        path.with_name(path.name + ".next").replace(path)
    ring = KeyRing(config, SECRET)
    assert ring.signer(new) is not None
    assert ring.tls(new).certificate.decode() == new.tls_certificate
    ring.take_up(new)
    assert KeyRing(config, SECRET).main.public_key.hex() == new.public_key
    assert KeyRing(config, SECRET).tls(new).certificate.decode() == new.tls_certificate
    assert old.public_key != new.public_key


def test_what_lies_beside_the_keys_cannot_stop_a_node(home: tuple[Config, Validator]) -> None:
    config, member = home
    for name in (config.key_file, config.tls_key_file, config.tls_certificate):
        path = config.path(name)
        path.with_name(path.name + ".next").write_bytes(b"rot")
        path.with_name(path.name + ".before").write_bytes(b"rot")
    ring = KeyRing(config, SECRET)
    assert ring.signer(member) is not None and ring.has_certificate(member)
    assert code_of(lambda: KeyRing(config, "guess")) == "wrong-passphrase"


def test_who_was_removed_has_no_node_and_who_comes_follows(home: tuple[Config, Validator]) -> None:
    config, bob = home
    genesis = make_genesis()
    identity = Identity(genesis, "bob", KeyRing(config, SECRET))
    others = tuple(member for member in genesis.epoch.members if member.name != "bob")
    joiner = Epoch(1, 50, (*others, replace_name(others[0], "eve"), bob))

    def checked(*epochs: Epoch, height: int = 10, who: Identity = identity) -> None:
        check_membership(config, who, epochs, height)

    now = Epoch(0, 1, (*others, bob))
    checked(now)
    without = Epoch(1, 50, others)
    with pytest.raises(ConfigError, match="not-a-member: `bob` was removed at height 50"):
        checked(now, without, height=50)
    checked(now, without, height=49)
    checked(now, without, replace_epoch(joiner, 2, 90), height=60)  # and is to come back
    checked(Epoch(0, 1, others), joiner, height=10)
    checked(Epoch(0, 1, others))
    stranger = replace(identity, name="zoe")
    assert code_of(lambda: checked(now, who=stranger)) == "not-a-member"  # bob's key, another's name
    assert code_of(lambda: checked(genesis.epoch)) == "wrong-key-file"
    spoiled = Epoch(0, 1, (*others, Validator("bob", bob.public_key, others[0].tls_certificate)))
    assert code_of(lambda: checked(spoiled)) == "wrong-certificate"


def replace_name(member: Validator, name: str) -> Validator:
    return Validator(name, member.public_key, member.tls_certificate)


def replace_epoch(epoch: Epoch, number: int, first_height: int) -> Epoch:
    return Epoch(number, first_height, epoch.members)
