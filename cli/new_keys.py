"""`watt node new-keys`: the first step of giving a member other keys."""

from pathlib import Path

import click

from cli.output import json_option, print_json, print_table, refusals_to_exit_codes
from cli.session import passphrase_option, read_passphrase_or_ask
from node.config import load_config
from node.rotation import ENTRY_NAME, make_next_keys
from node.setup import CONFIG_NAME


@click.command("new-keys")
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    default=CONFIG_NAME,
    show_default=True,
    help="The configuration.",
)
@passphrase_option
@json_option
@refusals_to_exit_codes
def new_keys(config_path: Path, passphrase_file: Path | None, as_json: bool) -> None:
    """Make a member's next key, TLS key and certificate beside those in use, sealed with the same passphrase.

    The node may run meanwhile. Nothing changes until `watt admin propose rotate` with the entry that this writes has
    been approved: at the height that it names, the running node takes the new keys up by itself, without a restart.

    Example: watt node new-keys --config utility/node.toml
    """
    config = load_config(config_path)
    if passphrase_file is None and config.passphrase_file:
        passphrase_file = config.path(config.passphrase_file)
    member = make_next_keys(config, read_passphrase_or_ask(passphrase_file, str(config.path(config.key_file))))
    entry = config.path(ENTRY_NAME)
    if as_json:
        return print_json({"entry": str(entry), "name": member.name, "public_key": member.public_key})
    rows = [("public key", member.public_key), ("entry for `watt admin propose rotate`", entry)]
    print_table(f"Next keys of {member.name}", ("what", "where"), rows)
