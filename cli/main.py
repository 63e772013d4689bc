"""`watt`: the one command. Groups are loaded when they are used (``cli/lazy.py``), so that `--help` is quick."""

import errno
import gc
import os
import sys
from typing import Any

import click

from cli.lazy import Commands, LazyGroup
from node.errors import WattError

gc.set_threshold(50_000, 20, 20)
"""Loading a command's modules makes tens of thousands of objects that live on: to look for cycles among them, as Python
does after every 700, takes a third of the time."""

_CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)

GROUPS: Commands = {
    "testnet": ("testnet.commands:testnet", "A local network of real processes."),
    "node": ("cli.node:node", "A member's node."),
    "admin": ("cli.admin:admin", "What members, owners and the utility decide."),
    "keys": ("cli.keys:keys", "What keys agree to; keys that other programs hold, such as a token's."),
    "ca": ("cli.ca:ca", "Certificates for gateways and operators."),
    "wallet": ("cli.wallet:wallet", "Keys, orders, budgets and alerts of people and devices."),
    "meter": ("cli.meter:meter", "Readings: one by one, a day, collected, corrected; the feeder's."),
    "market": ("cli.market:market", "Products, books, prices; clear and verify auctions."),
    "broker": ("broker.commands:broker", "A home's trading agent."),
    "audit": ("cli.audit:audit", "A period for an auditor: tables with proofs, their check, one page."),
    "sim": ("testnet.sim_commands:sim", "The deterministic simulator of consensus."),
    "bench": ("bench.commands:bench", "Measure throughput, latency and the auction."),
}


class Watt(LazyGroup):
    """All groups."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Output for which there is no room is one line, not a traceback. (A closed pipe ends it without a word.)
        So is what a command's module refuses when it is loaded."""
        try:
            return super().main(*args, **kwargs)
        except WattError as error:
            click.echo(f"watt: {error.code}: {error.message}", err=True)
            sys.exit(1)
        except OSError as error:
            if error.errno not in _CANNOT_WRITE:
                raise
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # so that the interpreter's own last flush succeeds
            click.echo(f"watt: cannot-write: {error.strerror}", err=True)
            sys.exit(1)


@click.group(cls=Watt, table=GROUPS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="wattledger", prog_name="watt")
def main() -> None:
    """A permissioned ledger for local electricity.

    Results go to standard output, the rest to standard error. Exit status: 0 done, 1 refused, 2 wrong
    usage, 3 cannot reach a node.

    Example: watt testnet up --nodes 4
    """


if __name__ == "__main__":
    main()
