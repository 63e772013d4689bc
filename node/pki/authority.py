"""A CA in a directory: the consortium's root, kept off the network, or a member's, one below it.

    ca.key.json      its key, sealed under a passphrase (``node/keyfile.py``, kind `tls-key`)
    ca.crt           its certificate, then the root's if it is a member's
    ca.csr           a member's request to the root
    ca.crl           its certificate(s) and the list of what it revoked: for files of authorities
    register.jsonl   what it issued and revoked (``register.py``)

Certificates are written into the register before they are handed out. Nothing is ever overwritten but ``ca.crl``, which
says the same and more, and ``ca.crt`` by a later certificate of the same key.
"""

import datetime
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from node.errors import ConfigError
from node.files import read_given
from node.keyfile import KIND_TLS_KEY, STRONG, Limits, read_key_file, seal, unseal, write_private
from node.pki.profile import (
    BACKDATED,
    DAYS,
    Kind,
    PrivateKey,
    Subject,
    certificate_pem,
    check_subject,
    describe,
    issue,
    key_bytes,
    load_private_key,
    make_request,
    make_root,
    new_key,
    public_bytes,
    read_request,
)
from node.pki.register import Issued, Listed, Reason, Register, RegisterWriter, Revoked, read_register, writing
from node.pki.trust import is_signed_by, read_chain

KEY_NAME: Final = "ca.key.json"
CERTIFICATE_NAME: Final = "ca.crt"
REQUEST_NAME: Final = "ca.csr"
LIST_NAME: Final = "ca.crl"
LIST_DAYS: Final = {Kind.ROOT: 366, Kind.MEMBER: 35}
"""Until when a revocation list is good; a later one may come at any time before."""
REASONS: Final[Mapping[Reason, x509.ReasonFlags]] = {
    "unspecified": x509.ReasonFlags.unspecified,
    "key-compromise": x509.ReasonFlags.key_compromise,
    "superseded": x509.ReasonFlags.superseded,
    "cessation": x509.ReasonFlags.cessation_of_operation,
}

_STOLEN: Final[Reason] = "key-compromise"


def create_root(
    directory: Path,
    name: str,
    passphrase: str,
    now: datetime.datetime,
    days: int = DAYS[Kind.ROOT],
    limits: Limits = STRONG,
) -> None:
    """Make a consortium's root. Raises ConfigError: "key-exists", "cannot-write", "bad-names", "too-long"."""
    key = new_key()
    certificate = make_root(key, name, now, days)
    _prepare(directory)
    _seal(directory / KEY_NAME, key, passphrase, limits)
    write_private(directory / CERTIFICATE_NAME, certificate_pem(certificate))
    Authority(directory, key, (certificate,)).sign_list(now)


def create_member(directory: Path, member: str, passphrase: str, limits: Limits = STRONG) -> Path:
    """Make a member's CA: its key, and the request that the root is to sign; returns the request's file.

    Raises ConfigError: "key-exists", "cannot-write", "bad-names".
    """
    key = new_key()
    request = make_request(key, Subject(Kind.MEMBER, member))
    _prepare(directory)
    _seal(directory / KEY_NAME, key, passphrase, limits)
    write_private(directory / REQUEST_NAME, request)
    return directory / REQUEST_NAME


def accept(directory: Path, chain_pem: bytes) -> None:
    """Put the root's answer in place, the first time or when the root has renewed it; the one before stays as
    ca.crt.before.

    Raises ConfigError: "bad-certificate", "wrong-certificate" (of another key), "no-key-file", "cannot-write".
    """
    chain = read_chain(chain_pem)
    if len(chain) != 2 or describe(chain[0]).subject.kind is not Kind.MEMBER:
        raise ConfigError(
            "bad-certificate", "not what the root writes for a member's CA: its certificate and the root's"
        )
    if describe(chain[0]).public_key.hex() != read_key_file(directory / KEY_NAME).public_key:
        raise ConfigError("wrong-certificate", f"it is not for the key in {directory / KEY_NAME}")
    replace(directory / CERTIFICATE_NAME, b"".join(map(certificate_pem, chain)))


class Authority:
    """An open CA."""

    def __init__(self, directory: Path, key: PrivateKey, chain: tuple[x509.Certificate, ...]) -> None:
        self.directory = directory
        self._key = key
        self.chain = chain
        self.facts = describe(chain[0])

    @classmethod
    def open(cls, directory: Path, passphrase: str) -> "Authority":
        """Raises ConfigError: "no-ca", "bad-key-file", "wrong-passphrase", "bad-certificate", "wrong-certificate"."""
        chain = read_own_chain(directory)
        key = load_private_key(unseal(directory / KEY_NAME, KIND_TLS_KEY, passphrase))
        if describe(chain[0]).public_key != public_bytes(key.public_key()):
            raise ConfigError("wrong-certificate", f"{directory / CERTIFICATE_NAME} is not for the key beside it")
        return cls(directory, key, chain)

    def issue_member(
        self, request: bytes, member: str, dns: tuple[str, ...], now: datetime.datetime, days: int = DAYS[Kind.MEMBER]
    ) -> bytes:
        """For the root: sign a member's CA, for DNS names below ``dns``. Returns the chain, PEM.

        Raises ConfigError: "bad-request", "wrong-member", "not-below", "too-long", "bad-names", "certificate-expired".
        """
        asked, public = read_request(request)
        if asked.kind is not Kind.MEMBER:
            raise ConfigError("bad-request", f"it is for a certificate of kind {asked.kind}, not for a member's CA")
        if asked.member != member:
            raise ConfigError("wrong-member", f"the request is of `{asked.member}`, not of `{member}`")
        return self._issue(Subject(Kind.MEMBER, member, dns), public, now, days)

    def issue_leaf(self, request: bytes, kind: Kind, now: datetime.datetime, days: int | None = None) -> bytes:
        """For a member's CA: sign a gateway or an operator. Returns the chain without the root, PEM; errors as
        above."""
        asked, public = read_request(request)
        if asked.kind is not kind:
            raise ConfigError("bad-request", f"it is for a certificate of kind {asked.kind}, not {kind}")
        return self._issue(asked, public, now, DAYS[kind] if days is None else days)

    def renew(self, serial: str, now: datetime.datetime, days: int | None = None) -> bytes:
        """The same certificate with a new life, for the same key. Returns the chain, PEM.

        Raises ConfigError: "unknown-certificate", "certificate-revoked", and those of ``issue_member``.
        """
        before = read_register(self.directory).find(serial)
        certificate = read_chain(before.certificate.encode())[0]
        public = certificate.public_key()
        assert isinstance(public, ec.EllipticCurvePublicKey)  # it is one of ours
        subject = describe(certificate).subject
        return self._issue(subject, public, now, DAYS[subject.kind] if days is None else days, before.serial)

    def revoke(self, serial: str, reason: Reason, now: datetime.datetime) -> list[Issued]:
        """From now on a certificate is not good, whatever it says; the new list is in ``ca.crl``. Whoever is to know it
        needs that file. With its key known to others, none of that key is: who has it shows any of them. Returns all
        that this has revoked, oldest first.

        Raises ConfigError: "unknown-certificate", "certificate-revoked"."""
        with writing(self.directory) as register:
            issued = register.content.find(serial)
            _require_good(register.content, issued.serial)
            ended = _of_one_key(register.content, issued) if reason == _STOLEN else [issued]
            for each in ended:
                register.append(Revoked(each.serial, _text(now), reason))
            self._sign_list(register, now)
        return ended

    def sign_list(self, now: datetime.datetime) -> datetime.datetime:
        """Write ``ca.crl`` anew; returns until when it is good."""
        with writing(self.directory) as register:
            return self._sign_list(register, now)

    def _issue(
        self, subject: Subject, public: ec.EllipticCurvePublicKey, now: datetime.datetime, days: int, renews: str = ""
    ) -> bytes:
        certificate = issue(self.chain[0], self._key, check_subject(subject), public, now, days)
        facts = describe(certificate)
        pem = certificate_pem(certificate)
        with writing(self.directory) as register:
            if renews:
                _require_good(register.content, renews)
            _require_unstolen(register.content, facts.public_key)
            times = (_text(facts.begins), _text(facts.ends))
            register.append(
                Issued(facts.serial, subject.kind, subject.member, subject.names, *times, pem.decode(), renews)
            )
        above = self.chain if self.facts.subject.kind is Kind.ROOT else self.chain[:1]
        return pem + b"".join(map(certificate_pem, above))

    def _sign_list(self, register: RegisterWriter, now: datetime.datetime) -> datetime.datetime:
        number = register.content.lists + 1
        until = now + datetime.timedelta(days=LIST_DAYS[self.facts.subject.kind])
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.chain[0].subject)
            .last_update(now - BACKDATED)
            .next_update(until)
            .add_extension(x509.CRLNumber(number), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        for revoked in register.content.revoked.values():
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder()
                .serial_number(int(revoked.serial, 16))
                .revocation_date(datetime.datetime.fromisoformat(revoked.at))
                .add_extension(x509.CRLReason(REASONS[revoked.reason]), critical=False)
                .build()
            )
        signed = builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        register.append(Listed(number, _text(now)))
        replace(self.directory / LIST_NAME, certificate_pem(self.chain[0]) + signed, keep=False)
        return until


def read_own_chain(directory: Path) -> tuple[x509.Certificate, ...]:
    """A CA's own certificate and the root's. Raises ConfigError: "no-ca", "bad-certificate"."""
    path = directory / CERTIFICATE_NAME
    try:
        chain = read_chain(read_given(path))
    except FileNotFoundError as error:
        waits = " yet: `watt ca accept` takes what the root has signed" if (directory / KEY_NAME).exists() else ""
        raise ConfigError("no-ca", f"{directory} holds no CA's certificate{waits}") from error
    except OSError as error:
        raise ConfigError("no-ca", f"{path}: {error.strerror}") from error
    if describe(chain[0]).subject.kind not in (Kind.ROOT, Kind.MEMBER) or not is_signed_by(chain[-1], chain[-1]):
        raise ConfigError("bad-certificate", f"{path} is not a CA's, with the root's at its end")
    return chain


def write_new(path: Path, data: bytes) -> None:
    """Write a file that is not there. Raises ConfigError: "file-exists", "cannot-write"."""
    try:
        write_private(path, data)
    except ConfigError as error:
        if error.code != "key-exists":
            raise
        raise ConfigError("file-exists", error.message) from error


def replace(path: Path, data: bytes, *, keep: bool = True) -> None:
    """Put ``data`` in the place of a file at once; what was there stays with ``.before`` at its end, if it is to be
    kept.

    Raises ConfigError("cannot-write").
    """
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    write_private(new, data)
    try:
        before = path.with_name(path.name + ".before")
        if keep and path.exists():
            before.unlink(missing_ok=True)
            os.link(path, before)
        new.replace(path)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise ConfigError("cannot-write", f"{path}: {error.strerror}") from error


def _require_good(register: Register, serial: str) -> None:
    if serial in register.revoked:
        raise ConfigError("certificate-revoked", f"{serial} was revoked on {register.revoked[serial].at[:10]}")


def _of_one_key(register: Register, issued: Issued) -> list[Issued]:
    """All that are not revoked yet of the key of ``issued``."""
    key = _key_of(issued)
    return [each for each in register.issued.values() if each.serial not in register.revoked and _key_of(each) == key]


def _require_unstolen(register: Register, key: bytes) -> None:
    stolen = [serial for serial, revoked in register.revoked.items() if revoked.reason == _STOLEN]
    if any(_key_of(register.issued[serial]) == key for serial in stolen if serial in register.issued):
        raise ConfigError("certificate-revoked", "this key was revoked since others know it: make a new one")


def _key_of(issued: Issued) -> bytes:
    return describe(read_chain(issued.certificate.encode())[0]).public_key


def _prepare(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        there = {path.name for path in directory.iterdir()}
    except OSError as error:
        raise ConfigError("cannot-write", f"{directory}: {error.strerror}") from error
    for name in (KEY_NAME, CERTIFICATE_NAME, REQUEST_NAME, LIST_NAME, "register.jsonl"):
        if name in there:
            raise ConfigError("key-exists", f"{directory / name} is there already; it is never overwritten")


def _seal(path: Path, key: PrivateKey, passphrase: str, limits: Limits) -> None:
    seal(path, KIND_TLS_KEY, key_bytes(key), passphrase, public_key=public_bytes(key.public_key()), limits=limits)


def _text(moment: datetime.datetime) -> str:
    return moment.astimezone(datetime.UTC).isoformat(timespec="seconds")
