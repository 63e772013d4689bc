"""What a member needs before its node can run: keys, certificate, configuration; and the way to open them again."""

from dataclasses import dataclass
from pathlib import Path

import msgspec

from node.config import Config, GatewaySection, PeerSection, config_fault, dump_config
from node.errors import ConfigError
from node.keyfile import KIND_TLS_KEY, STRONG, Limits, load_key, save_key, seal, unseal, write_private
from node.model.genesis import Genesis, Member, load_genesis, member_name_fault
from node.model.keys import SigningKey, generate_key
from node.transport.tls import TlsIdentity, certificate_der, make_certificate, matches

CONFIG_NAME = "node.toml"
KEY_NAME = "node.key.json"
TLS_KEY_NAME = "tls.key.json"
CERTIFICATE_NAME = "tls.crt"
MEMBER_NAME = "member.json"
DATA_NAME = "data"

_COMMENT = """The configuration of one wattledger node. Relative paths are relative to this file.
docs/operations.md explains every key. Names in [peer.addresses] are those of the other members in genesis."""


@dataclass(frozen=True)
class NodeFiles:
    """What ``init_node`` is to write. ``peers``: the other members' names and addresses, as far as they are known."""

    directory: Path
    member: str
    genesis: str
    peer_listen: str
    gateway_listen: str
    peers: dict[str, str]
    passphrase_file: str = ""


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
        gateway=GatewaySection(files.gateway_listen),
        passphrase_file=files.passphrase_file,
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
    entry = msgspec.json.format(msgspec.json.encode(member), indent=2) + b"\n"
    write_private(files.directory / MEMBER_NAME, entry)
    return member


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
    """Who a node is: its genesis, its index among the members, and its secrets."""

    genesis: Genesis
    me: int
    key: SigningKey
    tls: TlsIdentity


def open_identity(config: Config, passphrase: str) -> Identity:
    """Open what the configuration names, and check that it all belongs together.

    Raises ConfigError: "no-genesis", "bad-genesis", "not-a-member", "no-key-file", "bad-key-file", "wrong-passphrase",
    "wrong-key-file" and "wrong-certificate" (not the member's in genesis), "no-certificate", "bad-config".
    """
    genesis = load_genesis(config.path(config.genesis))
    index = {member.name: i for i, member in enumerate(genesis.members)}
    if config.member not in index:
        raise ConfigError("not-a-member", f"`{config.member}` is no member in {config.path(config.genesis)}")
    me = index[config.member]
    others = index.keys() - {config.member}
    if config.peer.addresses.keys() != others:
        differing = ", ".join(sorted(config.peer.addresses.keys() ^ others))
        raise ConfigError("bad-config", f"[peer.addresses] names exactly the other members; look at: {differing}")
    key = load_key(config.path(config.key_file), passphrase)
    if key.public_key.hex() != genesis.members[me].public_key:
        raise ConfigError("wrong-key-file", f"{config.key_file} is not the key of `{config.member}` in genesis")
    tls_key = unseal(config.path(config.tls_key_file), KIND_TLS_KEY, passphrase)
    certificate = _certificate(config, genesis.members[me], tls_key)
    return Identity(genesis, me, key, TlsIdentity(tls_key, certificate))


def _certificate(config: Config, member: Member, tls_key: bytes) -> bytes:
    path = config.path(config.tls_certificate)
    try:
        certificate = path.read_bytes()
    except OSError as error:
        raise ConfigError("no-certificate", f"{path}: {error.strerror}") from error
    if certificate_der(certificate.decode("ascii", "replace")) != certificate_der(member.tls_certificate):
        raise ConfigError("wrong-certificate", f"{path} is not the certificate of `{member.name}` in genesis")
    if not matches(tls_key, certificate):
        raise ConfigError("wrong-certificate", f"{path} does not belong to the key in {config.tls_key_file}")
    return certificate
