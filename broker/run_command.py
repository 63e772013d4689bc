"""`watt broker run`: the agent of a site."""

import asyncio
import logging
import signal
from pathlib import Path

import click

from broker import agent
from broker.config import BrokerConfig, load_config
from cli.output import refusals_to_exit_codes
from cli.session import read_passphrase_or_ask


@click.command()
@click.option(
    "--config", "config_file", type=click.Path(path_type=Path), required=True, help="The broker's JSON configuration."
)
@refusals_to_exit_codes
def run(config_file: Path) -> None:
    """Trade for one or several homes until stopped, or until the last slot of the configuration.

    The file names gateways, and for each home its network, key file, yesterday's load and sun by slot, battery and EV;
    docs/demo.md shows one. The passphrase of the key files comes from the file that the configuration
    names, from WATT_PASSPHRASE, or from a prompt.

    Example: watt broker run --config brokers/home-03.json
    """
    config = load_config(config_file)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO)
    directory = config_file.resolve().parent
    passphrase_file = directory / config.passphrase_file if config.passphrase_file else None
    passphrase = read_passphrase_or_ask(passphrase_file, "the key files")
    asyncio.run(_until_stopped(config, directory, passphrase))


async def _until_stopped(config: BrokerConfig, directory: Path, passphrase: str) -> None:
    trading = asyncio.create_task(agent.run(config, directory, passphrase))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, trading.cancel)
    try:
        await trading
    except asyncio.CancelledError:
        logging.getLogger("watt.broker").info("stopped")
