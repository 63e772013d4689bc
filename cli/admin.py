"""`watt admin`: what members, owners and the utility decide. Who may do what is a table in `chaincode/roles.py`."""

from typing import Final

import click

from cli.lazy import Commands, LazyGroup

COMMANDS: Final[Commands] = {
    "add-entropy": ("cli.admin_privacy:add_entropy", "Throw random bytes into the secret that pseudonyms are made of."),
    "agreement": ("cli.agreements:agreement", "Help between networks, and sales, as their owners agree on them."),
    "allocate": ("cli.admin_budgets:allocate", "Give tokens of a network's pool to its devices."),
    "approve": ("cli.agenda:approve", "Approve a proposal for the validators that you are the admin of."),
    "auditor": ("cli.motions:auditor", "Members that may read everything: given and taken by vote."),
    "cap": ("cli.supply:cap", "What the utility issues to a network or company at most."),
    "company": ("cli.company:company", "What a company holds, and what it gives to its networks."),
    "device": ("cli.admin_members:device", "Loads, panels, batteries and cars."),
    "devices": ("cli.devices:devices", "Rank devices by what they use beyond their budgets, and say who paid."),
    "grid": ("cli.grid:commands", "Buses, lines, tolls and limits."),
    "issue": ("cli.admin_budgets:issue", "Issue tokens to a network or company for a billing period."),
    "member": ("cli.admin_members:member", "Organisations of the consortium."),
    "lost-key": ("cli.key_changes:lost_key", "Another key, by vote, for a member with power over others, or an admin."),
    "network": ("cli.admin_members:network", "Homes, shops, fleets: what belongs to a member and has an owner."),
    "period": ("cli.period:period", "Billing periods: planning other ones, and how far one is."),
    "policy": ("cli.policy:policy", "A network's policy: a file that is checked and tried before it is signed."),
    "proposals": ("cli.agenda:proposals", "List all that is voted on or scheduled: what, from when on, who approved."),
    "propose": ("cli.governance:propose", "Propose a change of the validators; it counts as your approval."),
    "redeem": ("cli.redemption:redeem", "Give tokens to the utility for a credit on its bill."),
    "redemption": ("cli.redemption:redemption", "The price at which tokens are redeemed, and what is owed for them."),
    "return": ("cli.redemption:return_tokens", "Give tokens of a pool back to the utility, for nothing."),
    "rules": ("cli.rules:rules", "The market's rules: what they are, and changing them by vote."),
    "sale": ("cli.sales:sale", "Tokens sold from one network to another under an agreement."),
    "settlement": ("cli.settlement:settlement", "What could not be settled, rent, and losses."),
    "supply": ("cli.supply:supply", "Show what has been issued and redeemed, and what is left in the world."),
    "take-back": ("cli.admin_budgets:take_back", "Take what devices have not spent back into their network's pool."),
    "tariff": ("cli.tariff:tariff", "The utility's prices by time of use."),
    "tolls": ("cli.motions:tolls", "The grid's tolls, changed by vote."),
    "upgrade": ("cli.upgrades:upgrade", "Other code for contracts: trying it, and voting on it."),
    "validators": ("cli.governance:validators", "Show who validates, and since which height; and the change to come."),
    "withdraw": ("cli.agenda:withdraw", "Take back a proposal, or your approval of somebody else's."),
}


@click.group(cls=LazyGroup, table=COMMANDS)
def admin() -> None:
    """What members, owners and the utility decide."""
