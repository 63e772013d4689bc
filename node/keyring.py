"""A member's keys: those in use, those that come next, and those before.

The configuration names three files: the sealed key, the sealed TLS key, the TLS certificate. Beside each of them may
lie one with ``.next`` at its end (``node/rotation.py`` makes them) and one with ``.before``. Which of them counts is
not for the files to say: the members of an epoch are known by key and certificate, and what matches is used. When next
ones come into use they take the others' names, file by file; a crash in between is harmless: all names are looked at.
"""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Final, TypeVar

from node.config import Config
from node.errors import ConfigError
from node.files import read_given
from node.keyfile import KIND_TLS_KEY, load_key, public_key_of, unseal
from node.model.epoch import Validator
from node.model.keys import Signer
from node.signer import NODE_SIGN_S, ExternalSigner, Pen, is_external
from node.transport.tls import TlsIdentity, certificate_der, matches

log = logging.getLogger("watt.node")

NEXT: Final = ".next"
BEFORE: Final = ".before"
_ENDS: Final = ("", NEXT, BEFORE)

_T = TypeVar("_T")


class KeyRing:
    """What the key files hold, unsealed. The passphrase is kept, so that keys made later can be taken up."""

    def __init__(self, config: Config, passphrase: str) -> None:
        """Raises ConfigError: "no-key-file", "bad-key-file", "wrong-passphrase", "no-certificate",
        "wrong-certificate"."""
        self._key_file = config.path(config.key_file)
        self._tls_key_file = config.path(config.tls_key_file)
        self._certificate_file = config.path(config.tls_certificate)
        self._passphrase = passphrase
        self._reading = Lock()
        self._keys: dict[str, Signer] = {}
        self._tls: dict[str, TlsIdentity] = {}
        self._load()

    def look_for(self, member: Validator) -> Signer | None:
        """``signer``, from the files if need be: next keys may have been made. What cannot be read is logged.

        To unseal takes seconds: if another thread reads them, wait for it. What is known already is not read again, as
        ``take_up`` may be renaming the files."""
        with self._reading:
            if self.signer(member) is None:
                try:
                    self._load()
                except ConfigError as error:
                    log.error("keys-unreadable code=%s: %s", error.code, error.message)
        return self.signer(member)

    def signer(self, member: Validator) -> Signer | None:
        """The key that ``member`` is known by, or None if it is not here."""
        return next((key for key in self._keys.values() if key.public_key.hex() == member.public_key), None)

    @property
    def main(self) -> Signer:
        """The key in the file that the configuration names."""
        return next(iter(self._keys.values()))

    def tls(self, member: Validator | None) -> TlsIdentity:
        """What to show on links: the certificate that ``member`` is known by if it is here, or else that of the file
        that the configuration names. One from before is never shown: the others are ahead of this node, or level."""
        return (self._tls_of(member) if member is not None else None) or next(iter(self._tls.values()))

    def has_certificate(self, member: Validator) -> bool:
        """Whether the certificate that ``member`` is known by is here, with its key."""
        return self._tls_of(member, *_ENDS) is not None

    def take_up(self, member: Validator) -> None:
        """``member``'s keys are in use from now on: if they are the next ones, they get the names of those in use."""
        key, tls = self._keys.get(NEXT), self._tls.get(NEXT)
        try:
            if key is not None and key is self.signer(member):
                _advance(self._key_file)
                self._keys = {"": key, BEFORE: self.main}
            if tls is not None and tls is self._tls_of(member):
                _advance(self._tls_key_file)
                _advance(self._certificate_file)
                self._tls = {"": tls}
        except OSError as error:  # they are used under the names that they have
            log.error("keys-not-renamed: %s: %s", error.filename, error.strerror)

    def _signer_in(self, path: Path) -> Signer:
        """The key of a file, which may be with another program; the one that runs already is kept."""
        if not is_external(path):
            return load_key(path, self._passphrase)
        claimed = public_key_of(path)
        running = next((key for key in self._keys.values() if key.public_key == claimed), None)
        return running or Pen(ExternalSigner.open(path, NODE_SIGN_S))

    def _tls_of(self, member: Validator, *ends: str) -> TlsIdentity | None:
        wanted = certificate_der(member.tls_certificate)
        for end in ends or ("", NEXT):
            tls = self._tls.get(end)
            if tls is not None and certificate_der(tls.certificate.decode("ascii", "replace")) == wanted:
                return tls
        return None

    def _load(self) -> None:
        keys = _opened(self._key_file, self._signer_in)
        secrets = _opened(self._tls_key_file, lambda path: unseal(path, KIND_TLS_KEY, self._passphrase))
        tls: dict[str, TlsIdentity] = {}
        for end, certificate in _opened(self._certificate_file, _read).items():
            secret = next((secret for secret in secrets.values() if _belongs(secret, certificate)), None)
            if secret is not None:
                tls[end] = TlsIdentity(secret, certificate)
            elif end == "":
                named = f"{self._certificate_file} does not belong to the key in {self._tls_key_file}"
                raise ConfigError("wrong-certificate", named)
        if not tls:
            raise ConfigError("wrong-certificate", f"no key here belongs to a certificate: {self._certificate_file}")
        self._keys, self._tls = keys, tls


def _opened(path: Path, use: Callable[[Path], _T]) -> dict[str, _T]:
    """What the file of this name holds, and those of its names with something at the end, by that. Raises ConfigError
    if the file itself cannot be read, or there is none at all; of the others, it is logged."""
    found: dict[str, _T] = {}
    for end in _ENDS:
        candidate = path.with_name(path.name + end)
        if end and not candidate.exists():
            continue
        try:
            found[end] = use(candidate)
        except ConfigError as error:
            if not end and (candidate.exists() or not path.with_name(path.name + NEXT).exists()):
                raise
            log.error("key-file-not-used code=%s: %s", error.code, error.message)
    return found


def _advance(path: Path) -> None:
    """The next file takes this one's name, which keeps another."""
    before, coming = path.with_name(path.name + BEFORE), path.with_name(path.name + NEXT)
    if not coming.exists():
        return  # it has it already
    if path.exists():
        before.unlink(missing_ok=True)
        os.link(path, before)
    coming.replace(path)


def _read(path: Path) -> bytes:
    try:
        return read_given(path)
    except OSError as error:
        raise ConfigError("no-certificate", f"{path}: {error.strerror}") from error


def _belongs(private_key: bytes, certificate: bytes) -> bool:
    try:
        return matches(private_key, certificate)
    except ValueError:
        return False
