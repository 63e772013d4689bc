"""What a member needs before its node can run: keys, certificate, configuration; and the way to open them again."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from node.config import Config, GatewaySection, PeerSection, config_fault, dump_config
from node.errors import ConfigError
from node.files import OsDirectory
from node.keyfile import KIND_TLS_KEY, STRONG, Limits, save_key, seal, write_private
from node.keyring import KeyRing
from node.model.epoch import Epoch
from node.model.genesis import Genesis, Member, load_genesis, member_name_fault
from node.model.keys import generate_key
from node.pki.holder import GATEWAY_CERTIFICATE, GATEWAY_KEY
from node.transport.tls import make_certificate
from node.votelog import VoteLog

CONFIG_NAME = "node.toml"
KEY_NAME = "node.key.json"
TLS_KEY_NAME = "tls.key.json"
CERTIFICATE_NAME = "tls.crt"
MEMBER_NAME = "member.json"
DATA_NAME = "data"
DATABASE_NAME = "db"
VOTES_NAME = "votes"

_COMMENT = """The configuration of one wattledger node. Relative paths are relative to this file.
docs/operations.md explains every key. Names in [peer.addresses] are those of the other members in genesis."""


@dataclass(frozen=True)
class NodeFiles:
    """What ``init_node`` is to write. ``peers``: the other members' names and addresses, as far as they are known;
    ``closed``: the gateway is to have a certificate, which is made later (``node/pki/holder.py``)."""

    directory: Path
    member: str
    genesis: str
    peer_listen: str
    gateway_listen: str
    peers: dict[str, str]
    passphrase_file: str = ""
    closed: bool = False


def init_node(files: NodeFiles, passphrase: str, key_limits: Limits = STRONG) -> Member:
    """Make a node's directory with new keys; returns the member's entry for the genesis document.

    Raises ConfigError: "key-exists" (nothing is ever overwritten), "cannot-write", "bad-config".
    """
    config = Config(
        member=files.member,
        genesis=files.genesis,
        data_dir=DATA_NAME,
        key_file=KEY_NAME,
        tls_key_file=TLS_KEY_NAME,
        tls_certificate=CERTIFICATE_NAME,
        peer=PeerSection(files.peer_listen, files.peers),
        gateway=GatewaySection(files.gateway_listen, *((GATEWAY_CERTIFICATE, GATEWAY_KEY) if files.closed else ())),
        passphrase_file=files.passphrase_file,
        directory=str(files.directory.resolve()),
    )
    fault = member_name_fault(files.member) or config_fault(config)
    if fault is not None:
        raise ConfigError("bad-config", fault)
    _prepare(files.directory)
    key = generate_key()
    save_key(files.directory / KEY_NAME, key, passphrase, key_limits)
    private, certificate = make_certificate(files.member)
    seal(files.directory / TLS_KEY_NAME, KIND_TLS_KEY, private, passphrase, limits=key_limits)
    member = Member(files.member, key.public_key.hex(), certificate.decode())
    write_private(files.directory / CERTIFICATE_NAME, certificate)
    write_private(files.directory / CONFIG_NAME, dump_config(config, _COMMENT).encode())
    make_vote_log(config)
    entry = msgspec.json.format(msgspec.json.encode(member), indent=2) + b"\n"
    write_private(files.directory / MEMBER_NAME, entry)
    return member


def make_vote_log(config: Config) -> None:
    """Make the empty vote log of a node that has never run: without one, a node takes it that its memory is lost.

    Raises ConfigError: "key-exists" if there is one, "cannot-write".
    """
    votes = config.path(config.data_dir) / VOTES_NAME
    try:
        votes.mkdir(parents=True)
        VoteLog.create(OsDirectory(votes))
    except FileExistsError as error:
        raise ConfigError("key-exists", f"{votes} is there already; it is never overwritten") from error
    except OSError as error:
        raise ConfigError("cannot-write", f"{votes}: {error.strerror}") from error


def _prepare(directory: Path) -> None:
    """Make the directory; refuse it before anything is written if one of the files is there."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        there = {path.name for path in directory.iterdir()}
    except OSError as error:
        raise ConfigError("cannot-write", f"{directory}: {error.strerror}") from error
    for name in (KEY_NAME, TLS_KEY_NAME, CERTIFICATE_NAME, CONFIG_NAME, MEMBER_NAME):
        if name in there:
            raise ConfigError("key-exists", f"{directory / name} is there already; it is never overwritten")


@dataclass(frozen=True)
class Identity:
    """Who a node is: its chain, its name and its keys. Whether they are a member's, the chain's state says."""

    genesis: Genesis
    name: str
    keys: KeyRing


def open_identity(config: Config, passphrase: str) -> Identity:
    """Open the genesis and the keys that the configuration names.

    Raises ConfigError: "no-genesis", "bad-genesis", "no-key-file", "bad-key-file", "wrong-passphrase",
    "no-certificate", "wrong-certificate" (not the TLS key's).
    """
    return Identity(load_genesis(config.path(config.genesis)), config.member, KeyRing(config, passphrase))


def check_membership(config: Config, identity: Identity, epochs: Sequence[Epoch], height: int) -> None:
    """Whether this node fits what the chain says of it. ``epochs``: all that are known; ``height``: of the next block.

    A member needs its key and certificate of this epoch or the next; who was removed has no node. Anybody else
    follows, and may become a member: unless its key is another member's. Raises ConfigError: "not-a-member",
    "wrong-key-file", "wrong-certificate", "bad-config" (addresses of strangers, and none of a member).
    """
    now = next(epoch for epoch in reversed(epochs) if epoch.first_height <= height)
    seats = [member for epoch in epochs[now.number :] for member in epoch.members if member.name == identity.name]
    if not seats:
        _check_stranger(config, identity, epochs, now)
    elif not any(identity.keys.signer(seat) for seat in seats):
        raise ConfigError(
            "wrong-key-file",
            f"{config.key_file} is not the key of `{identity.name}` in epoch {now.number}; if that was rotated since "
            "this node was last level, take the chain over first: watt node join",
        )
    elif not any(identity.keys.has_certificate(seat) for seat in seats):
        message = f"{config.tls_certificate} is not the certificate of `{identity.name}` in epoch {now.number}"
        raise ConfigError("wrong-certificate", message)
    _check_addresses(config, epochs, now)


def _check_stranger(config: Config, identity: Identity, epochs: Sequence[Epoch], now: Epoch) -> None:
    was = [epoch.number for epoch in epochs if epoch.index_of(identity.name) is not None]
    if was:
        raise removed_error(identity.name, epochs[was[-1] + 1].first_height)
    owners = [member.name for member in now.members if identity.keys.signer(member) is not None]
    if owners:
        message = f"`{identity.name}` is no member of this chain, and the key in {config.key_file} is `{owners[0]}`'s"
        raise ConfigError("not-a-member", message)


def removed_error(name: str, height: int) -> ConfigError:
    """``name`` was a member before ``height``."""
    return ConfigError("not-a-member", f"`{name}` was removed at height {height}: the others go on without its node")


def _check_addresses(config: Config, epochs: Sequence[Epoch], now: Epoch) -> None:
    known = {member.name for epoch in epochs for member in epoch.members}
    strangers = config.peer.addresses.keys() - known
    missing = {member.name for member in now.members} - config.peer.addresses.keys() - {config.member}
    if config.member in config.peer.addresses or (strangers and missing):
        differing = ", ".join(sorted(strangers | missing | (config.peer.addresses.keys() & {config.member})))
        raise ConfigError("bad-config", f"[peer.addresses] names the other members; look at: {differing}")
