"""New keys for a member that has some: made beside them, and taken up when an epoch names them (``keyring.py``)."""

from pathlib import Path
from typing import Final

import msgspec

from node.config import Config
from node.errors import ConfigError
from node.files import read_given
from node.keyfile import KIND_TLS_KEY, STRONG, Limits, load_key, public_key_of, save_key, seal, unseal, write_private
from node.keyring import NEXT
from node.model.genesis import Member
from node.model.keys import generate_key
from node.signer import is_external
from node.transport.tls import make_certificate

ENTRY_NAME: Final = "member.next.json"


def make_next_keys(config: Config, passphrase: str, key_limits: Limits = STRONG) -> Member:
    """Make a key, a TLS key and a certificate beside those in use, sealed with the same passphrase, which is checked.

    Returns the member as it will be known; ENTRY_NAME, beside the configuration, says the same, for `watt admin propose
    rotate`; one that names the key in use has done its work, and makes room. Raises ConfigError: "key-exists" if next
    ones are there already (propose these, or remove them), "cannot-write", and what ``load_key`` raises.
    """
    in_use = _public_key_in_use(config, passphrase).hex()
    names = (config.key_file, config.tls_key_file, config.tls_certificate)
    key_file, tls_key_file, certificate_file = (next_path(config.path(name)) for name in names)
    entry_file = config.path(ENTRY_NAME)
    for path in (key_file, tls_key_file, certificate_file, entry_file):
        if path.exists() and not (path == entry_file and _names(path, in_use)):
            raise ConfigError("key-exists", f"{path} is there already; propose what it holds, or remove it")
    try:
        entry_file.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError("cannot-write", f"{entry_file}: {error.strerror}") from error
    key = generate_key()
    private, certificate = make_certificate(config.member)
    save_key(key_file, key, passphrase, key_limits)
    seal(tls_key_file, KIND_TLS_KEY, private, passphrase, limits=key_limits)
    write_private(certificate_file, certificate)
    member = Member(config.member, key.public_key.hex(), certificate.decode())
    write_private(entry_file, msgspec.json.format(msgspec.json.encode(member), indent=2) + b"\n")
    return member


def _public_key_in_use(config: Config, passphrase: str) -> bytes:
    """Of a key that is with another program, the passphrase is that of the TLS key."""
    path = config.path(config.key_file)
    if not is_external(path):
        return load_key(path, passphrase).public_key
    unseal(config.path(config.tls_key_file), KIND_TLS_KEY, passphrase)
    return public_key_of(path)


def _names(entry_file: Path, public_key: str) -> bool:
    try:
        return msgspec.json.decode(read_given(entry_file), type=Member).public_key == public_key
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return False


def next_path(path: Path) -> Path:
    """Where the next file lies, for one that the configuration names."""
    return path.with_name(path.name + NEXT)
