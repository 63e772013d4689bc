"""`watt ca request`, `show` and `unseal`: what needs no CA."""

from pathlib import Path
from typing import Any

import click
from cryptography import x509

from cli.output import json_option, print_json, print_table, refusals_to_exit_codes
from cli.session import new_passphrase, passphrase_option, read_passphrase_or_ask
from node.errors import ConfigError
from node.files import read_given
from node.keyfile import KIND_TLS_KEY
from node.keyfile import unseal as unseal_key
from node.pki.authority import write_new
from node.pki.holder import OPERATOR_KEY, request_for_operator
from node.pki.profile import describe, read_request
from node.pki.trust import MAX_FILE_BYTES, warns_from
from node.transport.tls import UNREADABLE

_PATH = click.Path(path_type=Path)
_TIMES = ("begins", "ends", "warns_from", "until")


@click.command()
@click.argument("operator", metavar="NAME")
@click.option("--member", required=True, help="The member whose nodes the operator may look at.")
@click.option("--dir", "directory", type=_PATH, required=True, help="Where to put the key and the request.")
@passphrase_option
@json_option
@refusals_to_exit_codes
def request(operator: str, member: str, directory: Path, passphrase_file: Path | None, as_json: bool) -> None:
    """Make an operator's key, sealed, and the request for its certificate. For a gateway: watt node csr.

    Example: watt ca request alice --member utility --dir alice
    """
    path = request_for_operator(directory, member, operator, new_passphrase(passphrase_file))
    if as_json:
        return print_json({"request": str(path), "key": str(directory / OPERATOR_KEY)})
    print_table(f"Operator {operator}", ("what", "where"), [("key", directory / OPERATOR_KEY), ("request", path)])
    click.echo(
        f"have it signed: watt ca issue --for operator --csr {path} --out {directory / 'operator.crt'}", err=True
    )


@click.command()
@click.argument("file", type=_PATH)
@json_option
@refusals_to_exit_codes
def show(file: Path, as_json: bool) -> None:
    """What the certificates, requests and revocation lists in a PEM file say.

    Example: watt ca show gateway.csr
    """
    parts = _parts(read_file(file))
    if not parts:
        raise ConfigError("bad-certificate", f"{file}: no certificate, request or revocation list in PEM is in it")
    if as_json:
        return print_json(parts)
    for part in parts:
        print_table(f"{file}: {part['what']}", ("what", "value"), table_of(part)[1:])


@click.command()
@click.option("--key", "key_file", type=_PATH, required=True, help="The sealed key.")
@click.option("--out", type=_PATH, required=True, help="Where to write it, readable by you alone; never overwritten.")
@passphrase_option
@refusals_to_exit_codes
def unseal(key_file: Path, out: Path, passphrase_file: Path | None) -> None:
    """Write an operator's key in plain, for a program that knows no other: whoever reads that file is the operator.

    Example: watt ca unseal --key alice/operator.key.json --out /run/prometheus/operator.pem
    """
    write_new(out, unseal_key(key_file, KIND_TLS_KEY, read_passphrase_or_ask(passphrase_file, str(key_file))))
    click.echo(f"{out} holds the key unsealed", err=True)


def read_file(path: Path) -> bytes:
    """What is in a file. Raises ConfigError("no-file")."""
    try:
        return read_given(path, MAX_FILE_BYTES)
    except OSError as error:
        raise ConfigError("no-file", f"{path}: {error.strerror}") from error


def _parts(data: bytes) -> list[dict[str, Any]]:
    try:
        if b"-----BEGIN CERTIFICATE REQUEST-----" in data:
            subject, _ = read_request(data)
            return [
                {"what": "request", "kind": str(subject.kind), "member": subject.member, "names": list(subject.names)}
            ]
        certificates = x509.load_pem_x509_certificates(data) if b"-----BEGIN CERTIFICATE-----" in data else []
        marker = b"-----BEGIN X509 CRL-----"
        lists = [x509.load_pem_x509_crl(marker + rest) for rest in data.split(marker)[1:]]
    except UNREADABLE as error:
        raise ConfigError("bad-certificate", f"a part of it cannot be read: {error}") from error
    return [*map(_certificate, certificates), *map(_list, lists)]


def table_of(values: dict[str, Any]) -> list[tuple[str, Any]]:
    """Names and values for people: times (UTC) as all tables show them, lists with commas."""
    shown = [(name, ", ".join(value) if isinstance(value, list) else value) for name, value in values.items()]
    return [(name, value[:19].replace("T", " ") if name in _TIMES else value) for name, value in shown]


def _certificate(certificate: x509.Certificate) -> dict[str, Any]:
    facts = describe(certificate)
    return {
        "what": "certificate",
        "kind": str(facts.subject.kind),
        "member": facts.subject.member,
        "names": list(facts.subject.names),
        "serial": facts.serial,
        "begins": facts.begins.isoformat(),
        "ends": facts.ends.isoformat(),
        "warns_from": warns_from(facts).isoformat(timespec="seconds"),
        "issuer": certificate.issuer.rfc4514_string(),
    }


def _list(found: x509.CertificateRevocationList) -> dict[str, Any]:
    until = found.next_update_utc
    return {
        "what": "revocation list",
        "issuer": found.issuer.rfc4514_string(),
        "revoked": [f"{each.serial_number:040x}" for each in found],
        "until": "" if until is None else until.isoformat(),
    }
