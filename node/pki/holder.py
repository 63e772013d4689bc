"""The other side of a CA: keys that are made where they are used, requests for them, and certificates put in place.

A key never leaves its machine: a request goes to the member's CA, and a certificate comes back.
"""

import datetime
from pathlib import Path
from typing import Final

from node.config import Config
from node.errors import ConfigError
from node.keyfile import KIND_TLS_KEY, STRONG, Limits, read_key_file, seal, unseal
from node.pki.authority import replace
from node.pki.profile import (
    Facts,
    Kind,
    PrivateKey,
    Subject,
    certificate_pem,
    describe,
    key_bytes,
    load_private_key,
    make_request,
    new_key,
    public_bytes,
)
from node.pki.trust import read_chain

GATEWAY_KEY: Final = "gateway.key.json"
GATEWAY_CERTIFICATE: Final = "gateway.crt"
GATEWAY_REQUEST: Final = "gateway.csr"
OPERATOR_KEY: Final = "operator.key.json"
OPERATOR_REQUEST: Final = "operator.csr"
NEXT: Final = ".next"
"""At the end of a key's name: it is for the next certificate."""


def gateway_files(config: Config) -> tuple[Path, Path]:
    """Where a node's gateway certificate and its key are, or will be if the configuration does not name them yet."""
    gateway = config.gateway
    return config.path(gateway.certificate or GATEWAY_CERTIFICATE), config.path(gateway.key_file or GATEWAY_KEY)


def request_for_gateway(
    config: Config, names: tuple[str, ...], passphrase: str, *, another_key: bool = False, limits: Limits = STRONG
) -> Path:
    """Write a request for the gateway's certificate, with its key, which is made if there is none; ``another_key``:
    with a new one beside it, for the next certificate. Returns the request's file; a request from before is replaced.

    Raises ConfigError: "bad-names", "key-exists" (a next key is there), "wrong-passphrase", "bad-key-file",
    "cannot-write".
    """
    subject = Subject(Kind.GATEWAY, config.member, names)
    _, key_file = gateway_files(config)
    if another_key and key_file.exists():
        unseal(key_file, KIND_TLS_KEY, passphrase)  # one passphrase opens them all
        key_file = key_file.with_name(key_file.name + NEXT)
    if key_file.exists() and not another_key:
        request = make_request(load_private_key(unseal(key_file, KIND_TLS_KEY, passphrase)), subject)
    else:
        request = _with_new_key(key_file, subject, passphrase, limits)
    path = config.path(GATEWAY_REQUEST)
    replace(path, request, keep=False)
    return path


def request_for_operator(directory: Path, member: str, name: str, passphrase: str, limits: Limits = STRONG) -> Path:
    """Make an operator's key, and the request for its certificate; returns the request's file.

    Raises ConfigError: "bad-names", "key-exists", "cannot-write".
    """
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise ConfigError("cannot-write", f"{directory}: {error.strerror}") from error
    request = _with_new_key(directory / OPERATOR_KEY, Subject(Kind.OPERATOR, member, (name,)), passphrase, limits)
    path = directory / OPERATOR_REQUEST
    replace(path, request, keep=False)
    return path


def install(config: Config, chain_pem: bytes, now: datetime.datetime) -> Facts:
    """Put a gateway's certificate in place, and its key if that is the next one; those before stay, ``.before`` at the
    end of their names. A running node sees it within seconds.

    Raises ConfigError: "bad-certificate", "wrong-certificate" (of another member, or of no key here),
    "certificate-expired", "cannot-write".
    """
    chain = read_chain(chain_pem)
    facts = describe(chain[0])
    if facts.subject.kind is not Kind.GATEWAY or len(chain) < 2:
        raise ConfigError(
            "bad-certificate", "not what `watt ca issue` writes for a gateway: its certificate and its CA's"
        )
    if facts.subject.member != config.member:
        raise ConfigError(
            "wrong-certificate", f"it is of `{facts.subject.member}`, this is a node of `{config.member}`"
        )
    if facts.ends <= now:
        raise ConfigError("certificate-expired", f"it ended on {facts.ends:%Y-%m-%d}")
    certificate_file, key_file = gateway_files(config)
    coming = key_file.with_name(key_file.name + NEXT)
    holders = [path for path in (key_file, coming) if path.exists()]
    found = [path for path in holders if read_key_file(path).public_key == facts.public_key.hex()]
    if not found:
        raise ConfigError("wrong-certificate", f"it is for no key here: {', '.join(map(str, holders)) or key_file}")
    replace(certificate_file, b"".join(map(certificate_pem, chain)))
    if found[0] == coming:
        replace(key_file, coming.read_bytes())
        coming.unlink()
    return facts


def _with_new_key(key_file: Path, subject: Subject, passphrase: str, limits: Limits) -> bytes:
    key: PrivateKey = new_key()
    request = make_request(key, subject)
    point = public_bytes(key.public_key())
    seal(key_file, KIND_TLS_KEY, key_bytes(key), passphrase, public_key=point, limits=limits)
    return request
