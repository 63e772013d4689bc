"""`watt node log` and `watt node systemd`: what a running node logs, and how its machine is to run it."""

import getpass
import sys
from importlib.resources import files
from pathlib import Path

import click

from cli.output import json_option, print_json, print_table, refusals_to_exit_codes
from node.config import load_config
from node.control import LogLevel, ask
from node.logs import LEVELS
from node.setup import CONFIG_NAME

_PATH = click.Path(path_type=Path)
_config_option = click.option(
    "--config", "config_path", type=_PATH, default=CONFIG_NAME, show_default=True, help="The node's configuration."
)


@click.command("log")
@_config_option
@click.option("--room", default="", metavar="ROOM", help="watt.tx, watt.peers, watt.gateway ...; without: everything.")
@click.argument("level", required=False, type=click.Choice([*LEVELS]), metavar="[LEVEL]")
@json_option
@refusals_to_exit_codes
def log_level(config_path: Path, room: str, level: str | None, as_json: bool) -> None:
    """Change what a running node logs, or show it: debug, info, warning or error, until the node ends.

    `--room watt.tx debug` logs what became of every transaction, by its id.

    Example: watt node log --config node.toml --room watt.tx debug
    """
    config = load_config(config_path)
    levels: dict[str, str] = ask(config.path(config.data_dir), LogLevel(room, level or ""))
    if as_json:
        return print_json(levels)
    print_table(
        f"{config.member} logs", ["room", "from level"], [(name or "the rest", at) for name, at in levels.items()]
    )


@click.command()
@_config_option
@click.option("--user", default=None, help="The system's user that the node runs as.  [default: whoever asks]")
@refusals_to_exit_codes
def systemd(config_path: Path, user: str | None) -> None:
    """Print a hardened systemd unit for a node: its own user, a read-only system, bounded memory, files and processes.

    Its passphrase comes by systemd's credentials, so it stands in no file that the node's user could read otherwise.

    Example: watt node systemd --config /etc/watt/node.toml --user watt > /etc/systemd/system/watt.service
    """
    config = load_config(config_path)
    text = files("node").joinpath("watt.service").read_text("utf-8")
    values = {
        "@MEMBER@": config.member,
        "@USER@": user or getpass.getuser(),
        "@WATT@": _word(str(Path(sys.executable).with_name("watt"))),
        "@CONFIG@": _word(str(config_path.resolve())),
        "@DIRECTORY@": _line(config.directory),
        "@WRITTEN@": _word(config.directory),
    }
    for name, value in values.items():
        text = text.replace(name, value)
    click.echo(text, nl=False)


def _line(text: str) -> str:
    """A value of a unit that is a whole line: a percent sign would begin a specifier."""
    return text.replace("%", "%%")


def _word(text: str) -> str:
    """One word of a value that has several."""
    if not any(each in " \t\"'\\;" for each in text):
        return _line(text)
    return '"' + _line(text).replace("\\", "\\\\").replace('"', '\\"') + '"'
