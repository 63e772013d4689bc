"""Ed25519 keys on a PKCS#11 token, by python-pkcs11: what `watt keys signer pkcs11` signs with."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pkcs11
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass
from pkcs11.exceptions import NoSuchKey
from pkcs11.util.ec import encode_named_curve_parameters

from node.errors import ConfigError, RefusedError
from node.keyfile import read_passphrase
from node.model.keys import PUBLIC_KEY_BYTES
from node.secrecy import close_memory

ED25519_OID: Final = "1.3.101.112"


class Token:
    """An open session with a token, as its user."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def make(self, label: str) -> bytes:
        """Make a key pair that never leaves the token; its public key. Raises RefusedError("key-exists")."""
        if self._find(label) is not None:
            raise RefusedError("key-exists", f"there is a key {label!r} on the token already")
        curve = {Attribute.EC_PARAMS: encode_named_curve_parameters(ED25519_OID)}
        domain = self._session.create_domain_parameters(KeyType.EC_EDWARDS, curve, local=True)
        secret = {Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False}
        public, _ = domain.generate_keypair(
            mechanism=Mechanism.EC_EDWARDS_KEY_PAIR_GEN,
            capabilities=MechanismFlag.SIGN | MechanismFlag.VERIFY,
            store=True,
            label=label,
            private_template=secret,
        )
        return _public_key(public)

    def key(self, label: str) -> tuple[bytes, Callable[[bytes], bytes]]:
        """(public key, what signs) of a key pair. Raises RefusedError("no-token-key")."""
        found = self._find(label)
        if found is None:
            raise RefusedError("no-token-key", f"the token has no Ed25519 key pair {label!r}: make one with --make")
        public, private = found
        return _public_key(public), lambda message: bytes(private.sign(message, mechanism=Mechanism.EDDSA))

    def _find(self, label: str) -> tuple[Any, Any] | None:
        try:
            of = {"key_type": KeyType.EC_EDWARDS, "label": label}
            public = self._session.get_key(object_class=ObjectClass.PUBLIC_KEY, **of)
            return public, self._session.get_key(object_class=ObjectClass.PRIVATE_KEY, **of)
        except NoSuchKey:
            return None


@contextmanager
def open_token(module: Path, label: str, pin: str) -> Iterator[Token]:
    """Log in to a token. Raises RefusedError("token-failed")."""
    close_memory()
    try:
        with pkcs11.lib(str(module)).get_token(token_label=label).open(rw=True, user_pin=pin) as session:
            yield Token(session)
    except (pkcs11.PKCS11Error, RuntimeError) as error:
        raise RefusedError("token-failed", f"{module}: {type(error).__name__} {error}".strip()) from error


def token_pin(path: Path) -> str:
    """The first line of a file. Raises ConfigError("no-passphrase")."""
    pin = read_passphrase(path)
    if pin is None:
        raise ConfigError("no-passphrase", f"{path} holds no PIN")
    return pin


def _public_key(public: Any) -> bytes:
    """What the token calls the point is the key, or an OCTET STRING of it."""
    return bytes(public[Attribute.EC_POINT])[-PUBLIC_KEY_BYTES:]
