"""`watt admin issue | allocate | take-back`, `watt wallet forecast`: a network's budget of a billing period."""

from decimal import Decimal
from typing import Any, cast

import click

from chaincode.budget_allocation import MAX_GIVEN
from chaincode.identity import MAX_DEVICES
from cli.answers import as_rows
from cli.output import print_json, tokens
from cli.periods import period_option, period_or_current
from cli.session import Account, Signing, ask, done, signed, transact
from cli.supply import company_option, holder_period
from cli.units import TOKENS, base_units
from node.gateway.client import Client
from node.model.keys import Signer


class DeviceAmount(click.ParamType[tuple[str, Decimal]]):
    """``DEVICE=TOKENS``; becomes the pair."""

    name = "device=tokens"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Decimal]:
        if isinstance(value, tuple):
            return value
        device, equals, amount = str(value).rpartition("=")
        if not equals or not device:
            self.fail(f"{str(value)[:60]!r} is not DEVICE=TOKENS", param, ctx)
        return device, TOKENS.convert(amount, param, ctx)


DEVICE_AMOUNT = DeviceAmount()


@click.command()
@click.argument("name")
@click.argument("amount", type=TOKENS)
@company_option
@click.option("--reference", required=True, help="The bill or contract that it rests on; each is used once.")
@period_option
@signed
def issue(
    name: str,
    amount: Decimal,
    of_company: bool,
    reference: str,
    period: int | None,
    signing: Signing,
    as_json: bool,
) -> None:
    """Issue AMOUNT tokens to the pool of NAME, a network or with --company a company, for a billing period. The
    utility signs.

    Example: watt admin issue home-03 40 --reference contract-2017-06 --key utility.key

    Example: watt admin issue coop 900 --company --reference contract-2017-06 --key utility.key
    """

    async def args(client: Client) -> dict[str, Any]:
        return {
            "member" if of_company else "network": name,
            "period": await holder_period(client, of_company, name, period),
            "amount": base_units(amount, (await client.node_info()).token_decimals),
            "reference": reference.encode(),
        }

    call = ("supply", "issue_company") if of_company else ("budget", "issue")
    done(transact(*signing, *call, args), as_json)


@click.command()
@click.argument("network_name", metavar="NETWORK")
@click.argument("amounts", metavar="[DEVICE=TOKENS]...", type=DEVICE_AMOUNT, nargs=-1)
@click.option("--by-history", type=TOKENS, help="Instead: so many tokens, shared out as last period was used.")
@click.option("--by-forecast", type=TOKENS, help="Instead: so many tokens, shared out as devices are forecast.")
@click.option("--by-policy", is_flag=True, help="Instead: what the rule of the network's policy gives.")
@click.option("--device", "devices", multiple=True, help="One that gets a part, by history or forecast; default: all.")
@period_option
@signed
def allocate(
    network_name: str,
    amounts: tuple[tuple[str, Decimal], ...],
    by_history: Decimal | None,
    by_forecast: Decimal | None,
    by_policy: bool,
    devices: tuple[str, ...],
    period: int | None,
    signing: Signing,
    as_json: bool,
) -> None:
    """Give tokens of NETWORK's pool to its devices. The owner signs.

    Example: watt admin allocate home-03 home-03/load=25 home-03/ev=10 --key owner.key

    Example: watt admin allocate home-03 --by-history 35 --device home-03/load --device home-03/ev --key owner.key

    Example: watt admin allocate home-03 --by-policy --key owner.key
    """
    divided = by_forecast if by_history is None else by_history
    if bool(amounts) + (by_history is not None) + (by_forecast is not None) + by_policy != 1:
        raise click.UsageError("say one of DEVICE=TOKENS..., --by-history, --by-forecast and --by-policy")
    if devices and divided is None:
        raise click.UsageError("--device goes with --by-history or --by-forecast")
    _require_once(amounts)

    if by_policy:
        return _by_policy(network_name, period, signing.nodes, signing.open(), as_json)

    async def args(client: Client) -> dict[str, Any]:
        decimals = (await client.node_info()).token_decimals
        common = {"network": network_name, "period": await period_or_current(client, period, network_name)}
        if divided is None:
            return {**common, "amounts": _in_base_units(amounts, decimals)}
        among = devices or as_rows(await client.query("identity", "devices", {"network": network_name}))
        return {**common, "amount": base_units(divided, decimals), "devices": among}

    rule = "forecast" if by_forecast is not None else "history"
    method = "allocate" if amounts else f"allocate_by_{rule}"
    done(transact(*signing, "budget", method, args), as_json)


@click.command("take-back")
@click.argument("network_name", metavar="NETWORK")
@click.argument("amounts", metavar="DEVICE=TOKENS...", type=DEVICE_AMOUNT, nargs=-1, required=True)
@period_option
@signed
def take_back(
    network_name: str,
    amounts: tuple[tuple[str, Decimal], ...],
    period: int | None,
    signing: Signing,
    as_json: bool,
) -> None:
    """Take tokens that devices of NETWORK have not spent back into its pool, to be allocated anew. The owner signs.

    Example: watt admin take-back home-03 home-03/ev=4 --key owner.key
    """
    _require_once(amounts)

    async def args(client: Client) -> dict[str, Any]:
        decimals = (await client.node_info()).token_decimals
        number = await period_or_current(client, period, network_name)
        return {"network": network_name, "period": number, "amounts": _in_base_units(amounts, decimals)}

    done(transact(*signing, "budget", "withdraw", args), as_json)


@click.command()
@click.argument("device")
@click.argument("amount", type=TOKENS)
@period_option
@signed
def forecast(
    device: str,
    amount: Decimal,
    period: int | None,
    signing: Signing,
    as_json: bool,
) -> None:
    """Say that DEVICE is expected to spend AMOUNT tokens in a billing period; 0: no forecast. Its owner signs: budgets
    are divided by forecasts.

    Example: watt wallet forecast home-03/ev 12.5 --key owner.key
    """

    async def args(client: Client) -> dict[str, Any]:
        number = await period_or_current(client, period, device)
        decimals = (await client.node_info()).token_decimals
        return {"device": device, "period": number, "amount": base_units(amount, decimals)}

    done(transact(*signing, "budget", "set_forecast", args), as_json)


def _by_policy(network: str, period: int | None, nodes: tuple[str, ...], key: Signer, as_json: bool) -> None:
    """Allocate by policy, MAX_GIVEN devices in a transaction, until nobody lacks anything."""

    async def use(client: Client) -> tuple[int, list[tuple[str, int]], int]:
        info = await client.node_info()
        account = Account(client, key, info.chain)
        args = {"network": network, "period": await period_or_current(client, period, network)}
        given: list[tuple[str, int]] = []
        for _ in range(0, MAX_DEVICES, MAX_GIVEN):
            status = await account.settle("budget", "allocate_by_policy", args)
            found = cast("tuple[tuple[str, int], ...]", as_rows(status.result))
            given += found
            if len(found) < MAX_GIVEN:
                break
        return status.height, given, info.token_decimals

    height, given, decimals = ask(nodes, use)
    if as_json:
        return print_json({"height": height, "result": given})
    for device, amount in given:
        click.echo(f"{device} {tokens(amount, decimals)}")
    click.echo(f"done in block {height}" if given else "nobody lacks anything")


def _require_once(amounts: tuple[tuple[str, Decimal], ...]) -> None:
    """Raises click.UsageError: two amounts for a device are most likely a slip, and would be added up."""
    names = [name for name, _ in amounts]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise click.UsageError(f"{twice[0]} is named twice")


def _in_base_units(amounts: tuple[tuple[str, Decimal], ...], decimals: int) -> tuple[tuple[str, int], ...]:
    return tuple((name, base_units(amount, decimals)) for name, amount in amounts)
