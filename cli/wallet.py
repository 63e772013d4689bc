"""`watt wallet`: keys, orders, budgets, shares and alerts of people and devices."""

import os
from pathlib import Path
from typing import Final

import click

from cli.lazy import Commands, LazyGroup

COMMANDS: Final[Commands] = {
    "access": ("cli.wallet_access:access", "Who may read what is yours: leave for others, for a time."),
    "alerts": ("cli.alerts:alerts", "List alerts: which device used more than it should, who paid, what proves it."),
    "balance": ("cli.wallet_budget:balance", "Show a billing period's budget of a device, or of a network."),
    "bulk": ("cli.wallet_bulk:bulk", "Place all orders of a file in one transaction: all of them, or none."),
    "cancel": ("cli.wallet_orders:cancel", "Take back what is still open of an order."),
    "connect": ("cli.wallet_moves:connect", "A device, such as a car, hangs on another bus from a slot on."),
    "decline": ("cli.wallet_requests:decline", "Do not give what a device asks for."),
    "disconnect": (
        "cli.wallet_moves:disconnect",
        "A device hangs nowhere from a slot on, until it is connected again.",
    ),
    "enrol": ("cli.enrol:enrol", "Make this device's key, and name it to the network by a code."),
    "erase": ("cli.wallet_erase:erase", "What was measured of a network leaves the ledger, for good."),
    "erased": ("cli.wallet_erase:erased", "Show what has been erased of a network at its owner's request."),
    "forecast": ("cli.admin_budgets:forecast", "Say what a device is expected to spend in a billing period."),
    "grant": ("cli.wallet_requests:grant", "Give what a device asks for, or a part of it."),
    "init": ("cli.wallet_trust:init", "Make a wallet's home: with it no node need be trusted."),
    "new": ("cli.wallet_keys:new", "Make a key and write it to a file, encrypted under a passphrase."),
    "order": ("cli.wallet_orders:order", "Place an order for a device: buy or sell energy in a slot."),
    "orders": ("cli.wallet_orders:orders", "List a device's orders, slot by slot."),
    "passphrase": ("cli.key_changes:passphrase", "Seal a key file under another passphrase."),
    "pseudonym": ("cli.wallet_access:pseudonym", "Show the name under which a device's orders and fills are public."),
    "replace": ("cli.wallet_orders:replace", "Take back what is open of an order and place another one."),
    "request": ("cli.wallet_requests:request", "Ask for tokens for a device; or take a request back."),
    "requests": ("cli.wallet_requests:requests", "List what devices of a network ask for, and what it is asked for."),
    "reset-key": ("cli.enrol:reset_key", "A key is lost: end it, and print a code to enrol another one."),
    "rotate-key": ("cli.key_changes:rotate_key", "Put another key in the place of one that is at hand."),
    "share": (
        "cli.wallet_shares:share",
        "Give tokens of a device to another one of its network; or list what was given.",
    ),
    "statement": ("cli.wallet_statement:statement", "Show a network's bill for a billing period."),
    "status": ("cli.wallet_keys:status", "Ask what became of a transaction."),
    "trades": ("cli.wallet_orders:trades", "List what a device has traded in a slot, auction by auction."),
    "trust": ("cli.wallet_trust:trust", "Show what the wallet believes: network, members, newest block."),
    "watch": ("cli.wallet_watch:watch", "Print events as blocks bring them, of some devices and networks, or all."),
}


@click.group(cls=LazyGroup, table=COMMANDS)
def wallet() -> None:
    """Keys, orders, budgets and alerts of people and devices."""
    home = Path(os.environ.get("WATT_WALLET") or "~/.watt").expanduser()
    if (home / "genesis.json").exists():
        from cli.wallet_home import use_home  # noqa: PLC0415  # much to load, and not every command has a wallet

        use_home(home)
