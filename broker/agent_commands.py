"""`watt broker run` and `watt broker explain`: the agents of sites, and what they did and why."""

import asyncio
import logging
import signal
from pathlib import Path

import click

from broker import agents
from broker.explain import explain_sites
from broker.site_file import SiteFile, load_site
from broker.strategies.table import STRATEGIES
from cli.output import json_option, refusals_to_exit_codes
from cli.session import read_passphrase_or_ask
from cli.slots import SAID, SLOT, Slot
from cli.units import Count
from node.errors import ConfigError

config_option = click.option(
    "--config",
    "configs",
    type=click.Path(path_type=Path),
    multiple=True,
    required=True,
    help="A site's file, or a directory of them (*.toml); may be given several times.",
)


def read_sites(configs: tuple[Path, ...]) -> list[SiteFile]:
    """The files named, and those in the directories named. Raises ConfigError: "no-config", "bad-config"."""
    paths: list[Path] = []
    for path in configs:
        found = sorted(path.glob("*.toml")) if path.is_dir() else [path]
        if not found:
            raise ConfigError("no-config", f"{path} holds no *.toml")
        paths += found
    return [load_site(path, tuple(sorted(STRATEGIES))) for path in paths]


@click.command()
@config_option
@refusals_to_exit_codes
def run(configs: tuple[Path, ...]) -> None:
    """Trade for one or several sites until stopped, or until the last slot that their files name.

    A site's file says what its devices can do, which gateways to ask and which key to sign with; docs/brokers.md tells
    it field by field. The passphrase of a key file comes from the file that it names, from WATT_PASSPHRASE, or from a
    prompt.

    Example: watt broker run --config home-03/site.toml
    """
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO)
    sites = []
    for file in read_sites(configs):
        passphrase_file = file.path(file.passphrase_file) if file.passphrase_file else None
        passphrase = read_passphrase_or_ask(passphrase_file, file.key_file)
        sites.append(agents.Keyed(file, passphrase))
    asyncio.run(_until_stopped(sites))


async def _until_stopped(sites: list[agents.Keyed]) -> None:
    trading = asyncio.create_task(agents.run(sites))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, trading.cancel)
    try:
        await trading
    except asyncio.CancelledError:
        logging.getLogger("watt.broker").info("stopped")


@click.command()
@config_option
@click.option("--slot", type=SLOT, help=f"Only this slot: {SAID}.")
@click.option("--last", type=Count(1), default=3, show_default=True, help="Only the last so many slots.")
@json_option
@refusals_to_exit_codes
def explain(configs: tuple[Path, ...], slot: Slot | None, last: int, as_json: bool) -> None:
    """Tell from the journal, slot by slot, what a site's broker foresaw, planned, ordered and why, and what came of it.

    No node is asked, and the broker may be running.

    Example: watt broker explain --config home-03/site.toml --last 2

    Example: watt broker explain --config home-03/site.toml --slot 2017-06-16T12:30
    """
    for file in read_sites(configs):
        explain_sites(file, slot, last, as_json)
