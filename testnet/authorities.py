"""Certificates for the gateways of a local network, made as a consortium would make them.

    DIR/ca/root, DIR/ca/node-0-ca, ...   the consortium's root and the members' CAs, each with its passphrase beside it
    DIR/ca.pem                           what clients believe: the root, and the lists of what was revoked

As everywhere in a local network, passphrases lie beside what they seal, and argon2 is at its cheapest.
"""

import datetime
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from node.config import Config, load_config
from node.keyfile import TESTNET, read_passphrase, write_private
from node.pki.authority import CERTIFICATE_NAME, LIST_NAME, Authority, accept, create_member, create_root, replace
from node.pki.holder import gateway_files, install, request_for_gateway
from node.pki.profile import Kind, describe
from node.pki.trust import read_chain, warns_from
from node.setup import CONFIG_NAME

CA_NAME: Final = "ca"
TRUST_NAME: Final = "ca.pem"
PASSPHRASE_NAME: Final = "passphrase"
NAMES: Final = ("127.0.0.1", "localhost")
"""Where the gateways of a local network are reached."""


def add_certificates(directory: Path, consortium: str, homes: Sequence[Path]) -> None:
    """Make the authorities in ``directory``, and a certificate for the gateway of each node: its directory holds a
    configuration that names where it will be. Raises ConfigError."""
    now = datetime.datetime.now(datetime.UTC)
    root = authority_path(directory, None)
    root_passphrase = _new_passphrase(root)
    create_root(root, consortium, root_passphrase, now, limits=TESTNET)
    for home in homes:
        _certify(directory, load_config(home / CONFIG_NAME), now)
    write_trust(directory)


def add_certificate(directory: Path, home: Path) -> None:
    """The same for a node that comes later."""
    _certify(directory, load_config(home / CONFIG_NAME), datetime.datetime.now(datetime.UTC))
    write_trust(directory)


def renew_due(directory: Path, configs: Sequence[Config]) -> list[str]:
    """Renew the certificates that end soon or have ended; the names of their members."""
    now = datetime.datetime.now(datetime.UTC)
    renewed = []
    for config in configs:
        below = authority_path(directory, config.member)
        if not (config.gateway.certificate and below.exists()):
            continue
        certificate_file, _ = gateway_files(config)
        if now >= warns_from(describe(read_chain(certificate_file.read_bytes())[0])):
            _give(below, config, now)
            renewed.append(config.member)
    return renewed


def authority_path(directory: Path, member: str | None) -> Path:
    """Where a member's CA is, or for None the root."""
    return directory / CA_NAME / ("root" if member is None else f"{member}-ca")


def open_authority(directory: Path, member: str | None) -> Authority:
    """The CA of a member of a local network, or for None the root."""
    place = authority_path(directory, member)
    return Authority.open(place, read_passphrase(place / PASSPHRASE_NAME) or "")


def write_trust(directory: Path) -> None:
    """Write what clients believe anew, with all lists as they are now."""
    authorities = directory / CA_NAME
    lists = [(path / LIST_NAME).read_bytes() for path in sorted(authorities.iterdir())]
    replace(
        directory / TRUST_NAME,
        b"".join([(authority_path(directory, None) / CERTIFICATE_NAME).read_bytes(), *lists]),
        keep=False,
    )


def _certify(directory: Path, config: Config, now: datetime.datetime) -> None:
    below = authority_path(directory, config.member)
    passphrase = _new_passphrase(below)
    request = create_member(below, config.member, passphrase, TESTNET).read_bytes()
    accept(below, open_authority(directory, None).issue_member(request, config.member, NAMES[1:], now))
    Authority.open(below, passphrase).sign_list(now)
    _give(below, config, now)


def _give(authority: Path, config: Config, now: datetime.datetime) -> None:
    passphrase = read_passphrase(config.path(config.passphrase_file)) or ""
    request = request_for_gateway(config, NAMES, passphrase, limits=TESTNET)
    signer = Authority.open(authority, read_passphrase(authority / PASSPHRASE_NAME) or "")
    install(config, signer.issue_leaf(request.read_bytes(), Kind.GATEWAY, now), now)


def _new_passphrase(directory: Path) -> str:
    directory.mkdir(parents=True, mode=0o700)
    passphrase = secrets.token_urlsafe(24)
    write_private(directory / PASSPHRASE_NAME, passphrase.encode() + b"\n")
    return passphrase
