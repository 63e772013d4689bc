"""`watt node csr` and `watt node install-certificate`: a gateway's certificate, whose key never leaves its node."""

import datetime
from pathlib import Path

import click

from cli.ca_files import read_file
from cli.output import json_option, print_json, print_table, refusals_to_exit_codes
from cli.session import passphrase_option, read_passphrase_or_ask
from node.config import Config, load_config
from node.pki.holder import NEXT, gateway_files, install, request_for_gateway
from node.pki.profile import describe
from node.pki.trust import read_chain
from node.setup import CONFIG_NAME

_config_option = click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    default=CONFIG_NAME,
    show_default=True,
    help="The node's configuration.",
)


@click.command()
@_config_option
@click.option(
    "--name",
    "names",
    multiple=True,
    help="A DNS name or address that clients reach it by; by default those of the certificate in use.",
)
@click.option("--new-key", is_flag=True, help="With another key than the one in use, for the next certificate.")
@passphrase_option
@json_option
@refusals_to_exit_codes
def csr(config_path: Path, names: tuple[str, ...], new_key: bool, passphrase_file: Path | None, as_json: bool) -> None:
    """Write a request for the gateway's certificate (gateway.csr), and make its key, sealed, if there is none.

    The key has the passphrase of the node's other keys. Take the request to the member's CA: watt ca issue.

    Example: watt node csr --config utility/node.toml --name gateway.utility.example --name 10.0.0.5

    Example: watt node csr --config utility/node.toml --new-key
    """
    config = load_config(config_path)
    certificate, key_file = gateway_files(config)
    if not names:
        if not certificate.exists():
            raise click.UsageError("say --name: there is no certificate yet whose names could be asked for again")
        names = describe(read_chain(read_file(certificate))[0]).subject.names
    if passphrase_file is None and config.passphrase_file:
        passphrase_file = config.path(config.passphrase_file)
    passphrase = read_passphrase_or_ask(passphrase_file, str(config.path(config.key_file)))
    path = request_for_gateway(config, names, passphrase, another_key=new_key)
    waiting = key_file.with_name(key_file.name + NEXT)
    if new_key and waiting.exists():
        key_file = waiting
    if as_json:
        return print_json({"request": str(path), "key": str(key_file), "names": list(names)})
    print_table(f"Gateway of {config.member}", ("what", "where"), [("key", key_file), ("request", path)])


@click.command("install-certificate")
@click.argument("certificate", type=click.Path(path_type=Path))
@_config_option
@json_option
@refusals_to_exit_codes
def install_certificate(certificate: Path, config_path: Path, as_json: bool) -> None:
    """Put the gateway's certificate in place, new or renewed. A running node shows it within seconds, without a
    restart.

    Example: watt node install-certificate gateway.crt --config utility/node.toml
    """
    config = load_config(config_path)
    facts = install(config, read_file(certificate), datetime.datetime.now(datetime.UTC))
    if as_json:
        return print_json({"serial": facts.serial, "ends": facts.ends.isoformat(), "names": list(facts.subject.names)})
    print_table(
        f"Gateway of {config.member}",
        ("what", "value"),
        [("serial", facts.serial), ("names", ", ".join(facts.subject.names)), ("ends", f"{facts.ends:%Y-%m-%d %H:%M}")],
    )
    _say_lines(config)


def _say_lines(config: Config) -> None:
    if config.gateway.certificate:
        return
    certificate_file, key_file = gateway_files(config)
    lines = f'certificate = "{certificate_file.name}"\nkey_file = "{key_file.name}"'
    click.echo(f"add to [gateway] of node.toml, then start the node anew:\n{lines}", err=True)
