"""Certificates of gateways and operators: what a CA signs and what it does not, its register, and what is believed."""

import asyncio
import datetime
import logging
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from node.config import Config, load_config
from node.errors import ConfigError
from node.gateway.certificate import GatewayCertificate, read_shown
from node.keyfile import TESTNET, unseal
from node.pki import holder, register
from node.pki.authority import LIST_NAME, REQUEST_NAME, Authority, accept, create_member, create_root
from node.pki.profile import Kind, Subject, certificate_pem, describe, issue, make_request, new_key, read_request
from node.pki.register import read_register, writing
from node.pki.serving import OperatorsPort
from node.pki.trust import read_chain, read_trust, warns_from
from node.setup import CONFIG_NAME, NodeFiles, init_node

SECRET = "secret"
NOW = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
"""The clock's: what is shown to a node is judged by its clock, and certificates from a fixed day on would end."""
DAY = datetime.timedelta(days=1)
GATEWAY = Subject(Kind.GATEWAY, "utility", ("127.0.0.1", "gw.utility.example"))
ALICE = Subject(Kind.OPERATOR, "utility", ("alice",))


@dataclass(frozen=True)
class Consortium:
    """A root and a member's CA below it, in directories."""

    root: Authority
    utility: Authority

    def trust(self) -> bytes:
        """What clients have: the root, and both lists."""
        lists = [(each.directory / LIST_NAME).read_bytes() for each in (self.root, self.utility)]
        return b"".join([(self.root.directory / "ca.crt").read_bytes(), *lists])


@pytest.fixture
def consortium(tmp_path: Path) -> Consortium:
    create_root(tmp_path / "root", "Street", SECRET, NOW, limits=TESTNET)
    root = Authority.open(tmp_path / "root", SECRET)
    request = create_member(tmp_path / "utility", "utility", SECRET, TESTNET)
    accept(tmp_path / "utility", root.issue_member(request.read_bytes(), "utility", ("utility.example",), NOW))
    utility = Authority.open(tmp_path / "utility", SECRET)
    utility.sign_list(NOW)
    return Consortium(root, utility)


@pytest.fixture
def node(tmp_path: Path) -> Config:
    files = NodeFiles(tmp_path / "node", "utility", "genesis.json", "127.0.0.1:7501", "127.0.0.1:7401", {}, closed=True)
    init_node(files, SECRET, TESTNET)
    return load_config(tmp_path / "node" / CONFIG_NAME)


def code_of(use: Callable[[], object]) -> str:
    with pytest.raises(ConfigError) as caught:
        use()
    return caught.value.code


def requested(subject: Subject) -> bytes:
    return make_request(new_key(), subject)


def test_a_chain_says_what_it_is_for_and_no_more(consortium: Consortium) -> None:
    leaf, member = read_chain(consortium.utility.issue_leaf(requested(GATEWAY), Kind.GATEWAY, NOW))
    above = consortium.root.chain[0]
    assert describe(leaf).subject == GATEWAY and describe(member).subject.names == ("utility.example",)
    get = leaf.extensions.get_extension_for_class
    assert not get(x509.BasicConstraints).value.ca and get(x509.KeyUsage).value.digital_signature
    assert list(get(x509.ExtendedKeyUsage).value) == [ExtendedKeyUsageOID.SERVER_AUTH]
    keys = member.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    assert get(x509.AuthorityKeyIdentifier).value.key_identifier == keys
    assert get(x509.AuthorityKeyIdentifier).value.authority_cert_serial_number == member.serial_number
    assert member.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0
    assert above.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 1
    assert member.extensions.get_extension_for_class(x509.NameConstraints).critical
    assert leaf.not_valid_after_utc - NOW == 30 * DAY


def test_openssl_agrees(consortium: Consortium, tmp_path: Path) -> None:
    """The chain, its purpose, its address and the lists, as others check them."""
    (tmp_path / "chain").write_bytes(consortium.utility.issue_leaf(requested(GATEWAY), Kind.GATEWAY, NOW))
    at = str(int(NOW.timestamp()) + 60)
    command = ["openssl", "verify", "-x509_strict", "-attime", at, "-purpose", "sslserver", "-verify_ip", "127.0.0.1"]
    command += ["-CAfile", "root/ca.crt", "-untrusted", "utility/ca.crt", "-crl_check_all"]
    command += ["-CRLfile", "root/ca.crl", "-CRLfile", "utility/ca.crl", "chain"]

    def verify() -> str:
        ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=20)
        return ended.stdout + ended.stderr

    assert "chain: OK" in verify()
    consortium.utility.revoke(next(iter(read_register(consortium.utility.directory).issued)), "superseded", NOW)
    assert "certificate revoked" in verify()


@pytest.mark.parametrize(
    ("subject", "code"),
    [
        (Subject(Kind.GATEWAY, "rival", ("127.0.0.1",)), "not-below"),
        (Subject(Kind.GATEWAY, "utility", ("gw.rival.example",)), "not-below"),
        (Subject(Kind.GATEWAY, "utility", ("notutility.example",)), "not-below"),
        (Subject(Kind.MEMBER, "utility"), "bad-request"),
    ],
)
def test_a_members_ca_signs_its_own_alone(consortium: Consortium, subject: Subject, code: str) -> None:
    assert code_of(lambda: consortium.utility.issue_leaf(requested(subject), Kind.GATEWAY, NOW)) == code
    assert not read_register(consortium.utility.directory).issued


def test_the_root_signs_members_cas_alone_each_for_whom_it_is(consortium: Consortium) -> None:
    request = requested(Subject(Kind.MEMBER, "rival"))
    assert code_of(lambda: consortium.root.issue_member(request, "utility", (), NOW)) == "wrong-member"
    assert code_of(lambda: consortium.root.issue_leaf(requested(GATEWAY), Kind.GATEWAY, NOW)) == "not-below"
    key = new_key().public_key()
    below = consortium.utility.chain[0]
    assert code_of(lambda: issue(below, new_key(), Subject(Kind.MEMBER, "utility"), key, NOW, 1)) == "not-below"


@pytest.mark.parametrize(
    "names",
    [(), ("",), ("UPPER.example",), ("a b",), ("0.0.0.0",), ("300.1.1.1",), ("127.0.0.1", "127.0.0.1"), ("::0001",),
     ("-a.example",), ("a" * 64,), ("*.example",), tuple(f"a{i}" for i in range(17))],
)  # fmt: skip
def test_names_that_cannot_be_are_refused(names: tuple[str, ...]) -> None:
    assert code_of(lambda: requested(Subject(Kind.GATEWAY, "utility", names))) == "bad-names"


def test_certificates_are_short_and_end_with_their_ca(consortium: Consortium) -> None:
    assert code_of(lambda: consortium.utility.issue_leaf(requested(ALICE), Kind.OPERATOR, NOW, 91)) == "too-long"
    late = NOW + 725 * DAY
    (leaf, member) = read_chain(consortium.utility.issue_leaf(requested(ALICE), Kind.OPERATOR, late))
    assert leaf.not_valid_after_utc == member.not_valid_after_utc
    after = NOW + 731 * DAY
    assert code_of(lambda: consortium.utility.issue_leaf(requested(ALICE), Kind.OPERATOR, after)) == (
        "certificate-expired"
    )


def test_ends_are_warned_of_weeks_ahead(consortium: Consortium) -> None:
    leaf = read_chain(consortium.utility.issue_leaf(requested(GATEWAY), Kind.GATEWAY, NOW, 30))[0]
    assert 15 * DAY <= leaf.not_valid_after_utc - warns_from(describe(leaf)) < 16 * DAY
    long = read_chain(consortium.utility.issue_leaf(requested(GATEWAY), Kind.GATEWAY, NOW, 90))[0]
    assert long.not_valid_after_utc - warns_from(describe(long)) == 21 * DAY
    for authority in consortium.utility.chain:
        assert authority.not_valid_after_utc - warns_from(describe(authority)) == 21 * DAY


def test_a_renewed_certificate_has_the_same_key_and_another_serial(consortium: Consortium) -> None:
    first = read_chain(consortium.utility.issue_leaf(requested(GATEWAY), Kind.GATEWAY, NOW))[0]
    serial = describe(first).serial
    second = read_chain(consortium.utility.renew(serial[:10], NOW + 20 * DAY))[0]
    assert describe(second).public_key == describe(first).public_key and describe(second).serial != serial
    assert describe(second).ends == NOW + 50 * DAY
    assert read_register(consortium.utility.directory).issued[describe(second).serial].renews == serial
    consortium.utility.revoke(serial, "key-compromise", NOW)
    assert code_of(lambda: consortium.utility.renew(serial, NOW)) == "certificate-revoked"
    assert code_of(lambda: consortium.utility.revoke(serial, "superseded", NOW)) == "certificate-revoked"
    assert code_of(lambda: consortium.utility.renew("", NOW)) == "unknown-certificate"


def test_what_was_revoked_is_known_to_who_has_the_list(consortium: Consortium) -> None:
    without = read_trust(consortium.trust())
    leaf = read_chain(consortium.utility.issue_leaf(requested(GATEWAY), Kind.GATEWAY, NOW))[0]
    assert without.revoked(leaf) is None
    consortium.utility.revoke(describe(leaf).serial, "key-compromise", NOW)
    assert read_trust(consortium.trust()).revoked(leaf) == "it was revoked"
    other = read_chain(consortium.utility.issue_leaf(requested(ALICE), Kind.OPERATOR, NOW))[0]
    assert read_trust(consortium.trust()).revoked(other) is None
    consortium.root.revoke(describe(consortium.utility.chain[0]).serial, "key-compromise", NOW)
    assert read_trust(consortium.trust()).revoked(other) == "the CA that signed it was revoked"
    assert read_trust(consortium.trust()).stale(NOW + 36 * DAY) == ["utility"]


def signed_by_a_thief(ca: Authority, root_name: list[x509.GeneralName]) -> x509.Certificate:
    """A gateway's certificate of a stolen CA, which says of the CA above it what the thief likes."""
    key, above = new_key(), ca.chain[0]
    by = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca._key.public_key())
    authority = x509.AuthorityKeyIdentifier(by.key_identifier, root_name, above.serial_number)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "utility")]))
        .issuer_name(above.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW + 30 * DAY)
        .add_extension(authority, critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("gw.utility.example")]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    )
    return builder.sign(ca._key, SHA256())


def test_a_thief_of_a_revoked_ca_does_not_hide_it_behind_another_spelling(
    consortium: Consortium, tmp_path: Path
) -> None:
    """TLS takes names for the same that differ in capitals; revocation lists are looked up by name."""
    root = consortium.root.chain[0].subject
    loud = x509.Name([x509.NameAttribute(part.oid, str(part.value).upper()) for part in root])
    consortium.root.revoke(describe(consortium.utility.chain[0]).serial, "key-compromise", NOW)
    trust = read_trust(consortium.trust())
    for names in ([x509.DirectoryName(loud)], [x509.DirectoryName(loud), x509.DirectoryName(root)], []):
        leaf = signed_by_a_thief(consortium.utility, list(names))
        (tmp_path / "leaf.pem").write_bytes(leaf.public_bytes(Encoding.PEM))
        (tmp_path / "chain.pem").write_bytes(certificate_pem(consortium.utility.chain[0]))
        files = ["-CAfile", str(consortium.root.directory / "ca.crt"), "-untrusted", str(tmp_path / "chain.pem")]
        at = ["-attime", str(int(NOW.timestamp()))]
        shown = subprocess.run(
            ["openssl", "verify", *at, *files, str(tmp_path / "leaf.pem")], capture_output=True, text=True, check=False
        )
        assert shown.stdout.endswith("leaf.pem: OK\n") or not names, shown.stderr
        assert trust.revoked(leaf) is not None


def test_a_stolen_key_takes_all_its_certificates_along_and_gets_no_other(consortium: Consortium) -> None:
    request = requested(GATEWAY)
    first = read_chain(consortium.utility.issue_leaf(request, Kind.GATEWAY, NOW))[0]
    renewed = read_chain(consortium.utility.renew(describe(first).serial, NOW + 20 * DAY))[0]
    other = read_chain(consortium.utility.issue_leaf(requested(GATEWAY), Kind.GATEWAY, NOW))[0]
    consortium.utility.revoke(describe(renewed).serial, "key-compromise", NOW + 21 * DAY)
    trust = read_trust(consortium.trust())
    assert trust.revoked(first) == trust.revoked(renewed) == "it was revoked" and trust.revoked(other) is None
    again = NOW + 22 * DAY
    assert code_of(lambda: consortium.utility.issue_leaf(request, Kind.GATEWAY, again)) == "certificate-revoked"


def test_a_file_of_authorities_is_read_strictly(consortium: Consortium, tmp_path: Path) -> None:
    root = (consortium.root.directory / "ca.crt").read_bytes()
    of_the_list = (consortium.utility.directory / LIST_NAME).read_bytes()
    key = b"-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n"
    for data in (b"", b"no PEM", of_the_list, root.replace(b"MII", b"MIJ"), root + key, b"x" * (1 << 21)):
        assert code_of(lambda data=data: read_trust(data)) == "bad-ca"  # type: ignore[misc]
    create_root(tmp_path / "other", "Other", SECRET, NOW, limits=TESTNET)
    other = (tmp_path / "other" / "ca.crt").read_bytes()
    assert code_of(lambda: read_trust(other + of_the_list)) == "bad-ca"  # signed by nobody in it
    assert len(read_trust(root + other + of_the_list).roots) == 2


def test_a_request_is_proven_by_its_key(consortium: Consortium) -> None:
    pem = requested(GATEWAY)
    subject, _ = read_request(pem)
    assert subject == GATEWAY
    damaged = x509.load_pem_x509_csr(pem).public_bytes(Encoding.DER)
    for data in (b"", b"x", pem[:100], bytes(reversed(damaged))):
        assert code_of(lambda data=data: read_request(data)) == "bad-request"  # type: ignore[misc]


def test_nothing_is_overwritten(consortium: Consortium, tmp_path: Path) -> None:
    assert code_of(lambda: create_root(tmp_path / "root", "Street", SECRET, NOW, limits=TESTNET)) == "key-exists"
    assert code_of(lambda: create_member(tmp_path / "utility", "utility", SECRET, TESTNET)) == "key-exists"
    assert code_of(lambda: Authority.open(tmp_path / "utility", "guess")) == "wrong-passphrase"
    assert code_of(lambda: Authority.open(tmp_path / "nowhere", SECRET)) == "no-ca"
    assert (
        code_of(lambda: accept(tmp_path / "utility", (tmp_path / "root" / "ca.crt").read_bytes())) == "bad-certificate"
    )


def test_the_key_is_sealed(consortium: Consortium) -> None:
    for directory in (consortium.root.directory, consortium.utility.directory):
        for path in directory.iterdir():
            assert b"PRIVATE KEY" not in path.read_bytes() and path.stat().st_mode & 0o077 == 0


def test_a_register_survives_a_crash_and_refuses_damage(consortium: Consortium) -> None:
    directory = consortium.utility.directory
    consortium.utility.issue_leaf(requested(GATEWAY), Kind.GATEWAY, NOW)
    path = directory / register.REGISTER_NAME
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"event":"issu')  # a crash in the middle of a line
    assert len(read_register(directory).issued) == 1
    consortium.utility.issue_leaf(requested(ALICE), Kind.OPERATOR, NOW)
    assert len(read_register(directory).issued) == 2 and path.read_bytes().startswith(whole)
    path.write_bytes(b"{}\n" + path.read_bytes())
    assert code_of(lambda: read_register(directory)) == "bad-register"


def test_one_command_at_a_time(consortium: Consortium) -> None:
    with writing(consortium.utility.directory):
        assert code_of(lambda: consortium.utility.sign_list(NOW)) == "ca-busy"


def test_a_gateways_key_stays_on_its_node(consortium: Consortium, node: Config) -> None:
    now = datetime.datetime.now(datetime.UTC)
    request = holder.request_for_gateway(node, GATEWAY.names, SECRET, limits=TESTNET)
    assert request.read_bytes().startswith(b"-----BEGIN CERTIFICATE REQUEST")
    first = consortium.utility.issue_leaf(request.read_bytes(), Kind.GATEWAY, now)
    holder.install(node, first, now)
    certificate_file, key_file = holder.gateway_files(node)
    before = read_shown(certificate_file, key_file, SECRET)

    # With another key: it waits beside the first until its certificate comes.
    request = holder.request_for_gateway(node, GATEWAY.names, SECRET, another_key=True, limits=TESTNET)
    assert read_shown(certificate_file, key_file, SECRET).identity == before.identity
    second = consortium.utility.issue_leaf(request.read_bytes(), Kind.GATEWAY, now)
    holder.install(node, second, now)
    after = read_shown(certificate_file, key_file, SECRET)
    assert after.facts.public_key != before.facts.public_key
    assert unseal(key_file, "tls-key", SECRET) == after.identity.private_key
    assert certificate_file.with_name("gateway.crt.before").read_bytes() == before.identity.certificate


def test_a_node_says_that_the_ca_above_its_gateway_ends(
    consortium: Consortium, node: Config, caplog: pytest.LogCaptureFixture
) -> None:
    """In good time: the root lies in a safe, and its members have to come together."""
    now, root, utility = datetime.datetime.now(datetime.UTC), consortium.root, consortium.utility.directory
    asked = (utility / REQUEST_NAME).read_bytes()
    accept(utility, root.issue_member(asked, "utility", ("utility.example",), now - 20 * DAY, 40))
    request = holder.request_for_gateway(node, GATEWAY.names, SECRET, limits=TESTNET)
    holder.install(node, Authority.open(utility, SECRET).issue_leaf(request.read_bytes(), Kind.GATEWAY, now, 4), now)
    shown = GatewayCertificate(*holder.gateway_files(node), SECRET)
    with caplog.at_level(logging.WARNING):
        asyncio.run(said_once(shown))
    assert [message.split()[:2] for message in caplog.messages] == [["certificate-ends", "use=ca"]]
    assert dict(shown.ends())["ca"].ends < now + 21 * DAY


async def said_once(shown: GatewayCertificate) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(shown.watch(), 0.1)


def test_a_certificate_that_does_not_fit_is_not_installed(consortium: Consortium, node: Config, tmp_path: Path) -> None:
    now = datetime.datetime.now(datetime.UTC)
    holder.request_for_gateway(node, GATEWAY.names, SECRET, limits=TESTNET)
    foreign = consortium.utility.issue_leaf(requested(GATEWAY), Kind.GATEWAY, now)
    assert code_of(lambda: holder.install(node, foreign, now)) == "wrong-certificate"
    operator = consortium.utility.issue_leaf(requested(ALICE), Kind.OPERATOR, now)
    assert code_of(lambda: holder.install(node, operator, now)) == "bad-certificate"
    request = (tmp_path / "node" / holder.GATEWAY_REQUEST).read_bytes()
    assert code_of(
        lambda: holder.install(node, consortium.utility.issue_leaf(request, Kind.GATEWAY, now), now + 31 * DAY)
    ) == ("certificate-expired")
    certificate_file, key_file = holder.gateway_files(node)
    assert code_of(lambda: GatewayCertificate(certificate_file, key_file, SECRET)) == "bad-gateway-certificate"


def test_operators_of_the_member_alone_come_in(consortium: Consortium, node: Config, tmp_path: Path) -> None:
    now = datetime.datetime.now(datetime.UTC)
    request = holder.request_for_gateway(node, GATEWAY.names, SECRET, limits=TESTNET)
    holder.install(node, consortium.utility.issue_leaf(request.read_bytes(), Kind.GATEWAY, now), now)
    shown = read_shown(*holder.gateway_files(node), SECRET)
    (tmp_path / "operators.pem").write_bytes(consortium.trust())
    port = OperatorsPort("utility", tmp_path / "operators.pem", shown.identity)
    alice = read_chain(consortium.utility.issue_leaf(requested(ALICE), Kind.OPERATOR, now))[0]

    def fault(certificate: x509.Certificate) -> str | None:
        return port.fault(certificate.public_bytes(Encoding.DER))

    assert fault(alice) is None
    assert (
        fault(read_chain(shown.identity.certificate)[0]) == "it is for a certificate of kind gateway, not an operator's"
    )
    assert port.fault(None) == "no certificate was shown" and port.fault(b"x") == "it is no operator's certificate"
    assert OperatorsPort("rival", tmp_path / "operators.pem", shown.identity).fault(b"") is not None


def test_addresses_are_written_in_one_way() -> None:
    subject, _ = read_request(requested(Subject(Kind.GATEWAY, "utility", ("2001:db8::1", "10.0.0.5"))))
    assert subject.names == ("2001:db8::1", "10.0.0.5")
