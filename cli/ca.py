"""`watt ca`: the consortium's root, the members' CAs, and what these issue to gateways and operators."""

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from cli.ca_files import read_file, request, show, table_of, unseal
from cli.confirm import confirm, yes_option
from cli.output import SHORT_ID, json_option, print_json, print_table, refusals_to_exit_codes
from cli.session import new_passphrase, passphrase_option, read_passphrase_or_ask
from node.errors import ConfigError
from node.pki.authority import KEY_NAME, REASONS, Authority, accept, create_member, create_root, write_new
from node.pki.profile import DAYS, MAX_DAYS, Kind, describe
from node.pki.register import Issued, Reason, read_register
from node.pki.trust import read_chain, warns_from

C = TypeVar("C", bound=Callable[..., Any])

_PATH = click.Path(path_type=Path)
_directory_option = click.option(
    "--dir",
    "directory",
    type=_PATH,
    default="ca",
    show_default=True,
    envvar="WATT_CA_DIR",
    help="The CA's directory. Also WATT_CA_DIR.",
)
_out_option = click.option("--out", type=_PATH, required=True, help="The file for it; never overwritten.")
_csr_option = click.option("--csr", type=_PATH, required=True, help="The request that was made where the key is.")


def _days_option(kind: Kind) -> Callable[[C], C]:
    text = f"How long it lives; {DAYS[kind]} unless said, at most {MAX_DAYS[kind]}, and never longer than its CA."
    return click.option("--days", type=int, help=text)


def _opened(command: C) -> C:
    """A command that signs: --dir, the passphrase, --json."""
    return _directory_option(passphrase_option(json_option(command)))


@click.group()
def ca() -> None:
    """Certificates for gateways and operators. Links between members need none: docs/identity.md says who has which.

    The consortium's root signs a CA for each member, on a machine that is on no network. Each member's CA signs
    gateways and operators of its own, for weeks.

    Example: watt ca init --dir utility-ca --member utility
    """


@ca.command()
@_directory_option
@click.option("--name", help="The consortium's name: make its root.")
@click.option("--member", help="The member's name in genesis: make its CA, and a request to the root.")
@passphrase_option
@json_option
@refusals_to_exit_codes
def init(directory: Path, name: str | None, member: str | None, passphrase_file: Path | None, as_json: bool) -> None:
    """Make a CA: the consortium's root with --name, or a member's with --member. Its key is sealed under a passphrase.

    Example: watt ca init --dir root --name "Street consortium"

    Example: watt ca init --dir utility-ca --member utility
    """
    if (name is None) == (member is None):
        raise click.UsageError("give either --name, for the root, or --member, for a member's CA")
    passphrase = new_passphrase(passphrase_file)
    if member is not None:
        written = create_member(directory, member, passphrase)
        hint = f"have it signed: watt ca member {member} --dir ROOT --csr {written} --out {member}-ca.crt"
        return _say({"request": str(written)}, f"CA of {member}", hint, as_json)
    create_root(directory, name or "", passphrase, _now())
    hint = "keep it off the network, and a copy of the directory and the passphrase in two places"
    _say({"root": str(directory)}, f"Root of {name}", hint, as_json)


@ca.command("member")
@click.argument("name", metavar="MEMBER")
@_csr_option
@click.option("--dns", multiple=True, help="Gateways of the member may have this DNS name and those below it.")
@_days_option(Kind.MEMBER)
@_out_option
@_opened
@refusals_to_exit_codes
def member_ca(
    name: str,
    csr: Path,
    dns: tuple[str, ...],
    days: int | None,
    out: Path,
    directory: Path,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Sign a member's CA with the root. Make sure first that the request comes from that member.

    Without --dns the member's gateways are reached by addresses alone.

    Example: watt ca member utility --dir root --csr ca.csr --dns utility.example --out utility-ca.crt
    """
    authority = _open(directory, passphrase_file, out)
    chain = authority.issue_member(read_file(csr), name, dns, _now(), DAYS[Kind.MEMBER] if days is None else days)
    _written(out, chain, f"at the member: watt ca accept {out.name} --dir ITS-CA", as_json)


@ca.command("accept")
@click.argument("certificate", type=_PATH)
@_directory_option
@json_option
@refusals_to_exit_codes
def accept_certificate(certificate: Path, directory: Path, as_json: bool) -> None:
    """Take what the root has signed into a member's CA; the one before is kept as ca.crt.before.

    Example: watt ca accept utility-ca.crt --dir utility-ca
    """
    accept(directory, read_file(certificate))
    _say(
        {"directory": str(directory)}, "CA", "it can issue now: watt ca issue; and sign its list: watt ca crl", as_json
    )


@ca.command()
@_csr_option
@click.option(
    "--for", "use", type=click.Choice(["gateway", "operator"]), required=True, help="What the certificate is to be for."
)
@_days_option(Kind.GATEWAY)
@_out_option
@_opened
@refusals_to_exit_codes
def issue(
    csr: Path, use: str, days: int | None, out: Path, directory: Path, passphrase_file: Path | None, as_json: bool
) -> None:
    """Sign a request of a gateway (`watt node csr`) or an operator (`watt ca request`). Look at it before: watt ca
    show.

    Example: watt ca issue --for gateway --csr gateway.csr --out gateway.crt
    """
    authority = _open(directory, passphrase_file, out)
    chain = authority.issue_leaf(read_file(csr), Kind(use), _now(), days)
    hint = f"on the node: watt node install-certificate {out}" if use == "gateway" else "give it to the operator"
    _written(out, chain, hint, as_json)


@ca.command()
@click.argument("serial")
@_days_option(Kind.GATEWAY)
@_out_option
@_opened
@refusals_to_exit_codes
def renew(
    serial: str, days: int | None, out: Path, directory: Path, passphrase_file: Path | None, as_json: bool
) -> None:
    """Sign the same names and key again, from now on. SERIAL: its first digits will do. The one before stays good until
    it ends: revoke it if that is why.

    Example: watt ca renew 3fa9 --out gateway.crt
    """
    chain = _open(directory, passphrase_file, out).renew(serial, _now(), days)
    _written(out, chain, f"on the node: watt node install-certificate {out}", as_json)


@ca.command()
@click.argument("serial")
@click.option("--reason", type=click.Choice(list(REASONS)), default="unspecified", show_default=True, help="Why.")
@yes_option
@_opened
@refusals_to_exit_codes
def revoke(
    serial: str, reason: Reason, yes: bool, directory: Path, passphrase_file: Path | None, as_json: bool
) -> None:
    """Say that a certificate is not good any more, and sign the list (ca.crl) that says so.

    Whoever is to know it needs that file: in `--ca` of clients, and in `[metrics] operators` of nodes. With
    key-compromise all certificates of the same key are revoked.

    Example: watt ca revoke 3fa9 --reason key-compromise
    """
    confirm(f"Revoke the certificate {serial}, for good?", yes=yes)
    ended = _open(directory, passphrase_file).revoke(serial, reason, _now())
    serials = [issued.serial for issued in ended]
    last = max(issued.ends for issued in ended)[:10]
    hint = f"hand out {directory / 'ca.crl'}; without it what was revoked is taken until {last}"
    _say({"serials": serials, "list": str(directory / "ca.crl")}, "Revoked", hint, as_json)


@ca.command("crl")
@_opened
@refusals_to_exit_codes
def sign_list(directory: Path, passphrase_file: Path | None, as_json: bool) -> None:
    """Sign the list of revoked certificates (ca.crl) anew, before its time is over.

    Example: watt ca crl --dir utility-ca
    """
    until = _open(directory, passphrase_file).sign_list(_now())
    path = directory / "ca.crl"
    values = {"list": str(path), "until": until.isoformat(timespec="seconds")}
    _say(values, "List", f"hand out {path}; the next one by then", as_json)


@ca.command("list")
@_directory_option
@click.option(
    "--ending", type=click.IntRange(0), metavar="DAYS", help="Only what is good now, and ends within so many days."
)
@json_option
@refusals_to_exit_codes
def list_issued(directory: Path, ending: int | None, as_json: bool) -> None:
    """What a CA has issued: `good`, `ends-soon`, `ended` or `revoked`. Needs no passphrase.

    Example: watt ca list --dir utility-ca --ending 10
    """
    if not directory.is_dir():
        raise ConfigError("no-ca", f"{directory} holds no CA")
    register, now = read_register(directory), _now()
    rows: list[dict[str, Any]] = []
    for issued in register.issued.values():
        state = _state(issued, issued.serial in register.revoked, now)
        ends = datetime.datetime.fromisoformat(issued.ends)
        if ending is not None and (state in ("ended", "revoked") or ends > now + datetime.timedelta(days=ending)):
            continue
        row = {name: getattr(issued, name) for name in ("serial", "kind", "member", "names", "ends", "renews")}
        rows.append(row | {"state": state})
    if as_json:
        return print_json(rows)
    columns = ("serial", "kind", "member", "names", "ends", "state")
    print_table(str(directory), columns, [[_cell(name, row[name]) for name in columns] for row in rows])


def _state(issued: Issued, is_revoked: bool, now: datetime.datetime) -> str:
    facts = describe(read_chain(issued.certificate.encode())[0])
    if is_revoked:
        return "revoked"
    if facts.ends <= now:
        return "ended"
    return "ends-soon" if now >= warns_from(facts) else "good"


def _cell(name: str, value: Any) -> str:
    if name == "names":
        return ", ".join(value)
    return str(value)[: {"serial": SHORT_ID, "ends": 10}.get(name)]


ca.add_command(request)
ca.add_command(show)
ca.add_command(unseal)


def _open(directory: Path, passphrase_file: Path | None, out: Path | None = None) -> Authority:
    """``out``: where the answer will go; refused before anything is signed, if something is there."""
    if out is not None and out.exists():
        raise ConfigError("file-exists", f"{out} is there already; it is never overwritten")
    key_file = directory / KEY_NAME
    if not key_file.exists():
        raise ConfigError("no-ca", f"{directory} holds no CA: `watt ca init` makes one, --dir names it")
    return Authority.open(directory, read_passphrase_or_ask(passphrase_file, str(key_file)))


def _written(out: Path, chain: bytes, hint: str, as_json: bool) -> None:
    write_new(out, chain)
    facts = describe(read_chain(chain)[0])
    values = {
        "certificate": str(out),
        "serial": facts.serial,
        "kind": str(facts.subject.kind),
        "member": facts.subject.member,
        "names": list(facts.subject.names),
        "begins": facts.begins.isoformat(),
        "ends": facts.ends.isoformat(),
    }
    _say(values, "Signed", hint, as_json)


def _say(values: dict[str, Any], title: str, hint: str, as_json: bool) -> None:
    if as_json:
        return print_json(values)
    print_table(title, ("what", "value"), table_of(values))
    click.echo(hint, err=True)


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
