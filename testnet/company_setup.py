"""What the company, the shops' owners, the utility and the neighbour decide before the month and in the middle of it.

Every decision is a transaction that its own key signs; what a later one needs to know, it takes from the result of an
earlier one. A decision that the rules refuse ends the run: nothing here is expected to fail.
"""

import asyncio
import secrets
from collections import Counter
from typing import Any, Final, NamedTuple

from chaincode.agreement_book import SALE, SHARE
from chaincode.budget_supply import COMPANY
from chaincode.pseudonyms import ENTROPY_BYTES
from node.errors import RefusedError
from node.limits import MEMPOOL_PER_SENDER
from node.model.codec import Value
from testnet.company_data import HOURS
from testnet.company_money import RESERVE_PERMILLE, budget_of, cost, policy_of
from testnet.company_plan import CHARGERS, HVAC, LIGHTING, NEIGHBOUR, NEIGHBOUR_NETWORK, REFRIGERATION
from testnet.company_world import DAY_S, MEMBER, UTILITY, World, member_of, owner_of
from testnet.sender import Sender

HELPERS: Final = ((2, 3), (5, 6), (8, 9), (11, 12))
"""Shops whose HVAC helps that of another one by itself."""
HELP_PERMILLE: Final = 300
"""The most that it gives in the period, of its budget."""
SELLER: Final = 7
"""The shop whose refrigeration sells tokens to the neighbour."""
SALE_PERMILLE: Final = 80
"""The most that it sells in the period, of its budget; half of it in the middle of the month, the rest at its end."""
PRICE_PERMILLE: Final = 900
"""Of par: what the neighbour pays for a token, and the utility when it redeems one a little less."""
REDEMPTION_PERMILLE: Final = 800
REACTS: Final = (5, 8)
"""In the middle of the month the company takes back from the HVAC of the second, and assigns to the chargers of the
first."""
HOTTEST: Final = 3
"""Whose HVAC then gets half of the company's reserve, into its pool."""
TAKEN_PERMILLE: Final = 100
BY_HAND: Final = 1
"""The shop in whose HVAC tokens are moved by hand and on request; so much each, of its budget."""
MOVED_PERMILLE: Final = 10
FORECAST_KINDS: Final = (HVAC, LIGHTING)
"""Networks whose owners say what they expect of every device."""

DECISION_VALID_S: Final = 10 * DAY_S
"""Of block time, some of which passes while a busy machine stands still."""
AT_ONCE: Final = MEMPOOL_PER_SENDER // 2
_Step = tuple[str, str, str, dict[str, Any]]
"""Whose key, contract, method, arguments."""


class Agreed(NamedTuple):
    """The numbers of the agreements, and the period: the same number for all."""

    period: int
    shares: tuple[int, ...]
    sale: int


class Decisions:
    """Makes the decisions."""

    def __init__(self, world: World, sender: Sender) -> None:
        self._world = world
        self._sender = sender
        self._networks = {(network.shop, network.kind): network for network in world.company.networks}

    async def prepare(self) -> Agreed:
        """Everything before the month: the secret of pseudonyms, calendars, issue, policies, agreements, allocation.

        Raises RefusedError.
        """
        await self._do(UTILITY, "privacy", "add_entropy", {"entropy": secrets.token_bytes(ENTROPY_BYTES)})
        period = await self._calendars()
        await self._issue(period)
        await self._connect()
        agreed = await self._agree(period)
        await self._policies(agreed)
        return agreed

    async def react(self, agreed: Agreed) -> None:
        """In the middle of the month: money moves between company and networks, between devices, and to the
        neighbour. Raises RefusedError."""
        await asyncio.gather(
            self._between_networks(agreed.period), self._between_devices(agreed.period), self._sell(agreed)
        )

    async def _between_networks(self, period: int) -> None:
        """The company takes from who has enough, and assigns that and some of its reserve to who has not."""
        poor, rich = self._networks[REACTS[0], CHARGERS], self._networks[REACTS[1], HVAC]
        taken = budget_of(rich, self._world.company.days) * TAKEN_PERMILLE // 1000
        into: dict[str, Any] = {"period": period}
        await self._do(MEMBER, "companies", "take_back", {**into, "network": rich.id, "amount": taken})
        await self._do(MEMBER, "companies", "assign", {**into, "network": poor.id, "amount": taken})
        await self._do(owner_of(poor), "budget", "allocate_by_policy", {**into, "network": poor.id})
        hot = {**into, "network": self._networks[HOTTEST, HVAC].id, "amount": self._reserve() // 2}
        await self._do(MEMBER, "companies", "assign", hot)

    async def _between_devices(self, period: int) -> None:
        """An owner moves tokens from the unit that stands by to the one that runs most; a device asks another one of
        its network for some, and its owner grants half of it."""
        network = self._networks[BY_HAND, HVAC]
        busiest, idlest = network.devices[0], min(network.devices, key=lambda device: sum(device.before_wh))
        amount = budget_of(network, self._world.company.days) * MOVED_PERMILLE // 1000
        move = {"giver": idlest.id, "receiver": busiest.id, "period": period, "amount": amount}
        await self._do(owner_of(network), "budget", "share", move)
        ask = {"device": busiest.id, "giver": idlest.id, "period": period, "amount": amount, "reason": "a hot week"}
        request = await self._do(owner_of(network), "requests", "ask", ask)
        await self._do(owner_of(network), "requests", "grant", {"request": request, "amount": amount // 2})

    async def _sell(self, agreed: Agreed) -> None:
        """Half of what may be sold: offered, bought and paid."""
        seller = self._networks[SELLER, REFRIGERATION]
        amount = budget_of(seller, self._world.company.days) * SALE_PERMILLE // 2000
        terms = {"agreement": agreed.sale, "period": agreed.period, "amount": amount}
        sale = await self._do(owner_of(seller), "sales", "offer", terms)
        await self._do(NEIGHBOUR, "sales", "accept", {"sale": sale, "payment": b"invoice 2014-06/1"})
        await self._do(owner_of(seller), "sales", "confirm_payment", {"sale": sale})

    async def begin_next(self, agreed: Agreed) -> None:
        """When the month is closed: what the chargers carried over is allocated by what each used in it. A day is over
        again by then."""
        if self._world.company.days == 1:
            return
        for (_, kind), network in self._networks.items():
            if kind == CHARGERS:
                into = {"network": network.id, "period": agreed.period + 1}
                await self._do(owner_of(network), "budget", "allocate_by_policy", into)

    async def _calendars(self) -> int:
        """The month becomes a period of the company and of the neighbour; a single day is one of the consortium's."""
        days, first = self._world.company.days, self._world.first_slot
        if days == 1:
            return first // HOURS
        plan: dict[str, Any] = {"first_slot": first, "lengths": (days * HOURS,)}
        number = await self._do(MEMBER, "periods", "plan_company", {"member": MEMBER, **plan})
        await self._do(NEIGHBOUR, "periods", "plan", {"network": NEIGHBOUR_NETWORK, **plan})
        return _number(number)

    async def _issue(self, period: int) -> None:
        """The utility issues to the company under a cap, and to the neighbour; the company assigns to its networks."""
        company, neighbour = self._world.company, self._world.company.neighbour
        budgets = {network.id: budget_of(network, company.days) for network in company.networks}
        whole = sum(budgets.values()) + self._reserve()
        holder: dict[str, Any] = {"kind": COMPANY, "name": MEMBER, "period": period, "amount": whole}
        await self._do(UTILITY, "supply", "set_cap", holder)
        issue: dict[str, Any] = {"period": period, "reference": b"2014-06"}
        await self._do(UTILITY, "supply", "issue_company", {**issue, "member": MEMBER, "amount": whole})
        amount = budget_of(neighbour, company.days)
        await self._do(UTILITY, "budget", "issue", {**issue, "network": neighbour.id, "amount": amount})
        redemption = {"permille": REDEMPTION_PERMILLE, "from_slot": self._world.first_slot}
        await self._do(UTILITY, "supply", "publish_price", redemption)
        await self._all(
            [
                (MEMBER, "companies", "classify", {"network": network.id, "class_name": network.kind})
                for network in company.networks
            ]
        )
        await self._all(
            [
                (MEMBER, "companies", "assign", {"network": network, "period": period, "amount": amount})
                for network, amount in budgets.items()
            ]
        )

    async def _connect(self) -> None:
        """Every device hangs on its shop's bus from the first slot on, and nowhere after the last: what is to be seen
        ends with the month, and nobody is charged by estimates then. What does not move, the member connects."""
        devices = [(network, device) for network in self._world.company.all_networks for device in network.devices]
        first, end = {"slot": self._world.first_slot}, {"slot": self._world.end_slot}
        await self._all(
            [
                (member_of(network), "identity", "connect", {"device": device.id, "bus": network.bus, **first})
                for network, device in devices
            ]
        )
        await self._all(
            [
                (member_of(network), "identity", "disconnect", {"device": device.id, **end})
                for network, device in devices
            ]
        )

    async def _agree(self, period: int) -> Agreed:
        """HVAC helps HVAC, as one company's networks may; the sale to the neighbour needs both sides."""
        days = self._world.company.days
        open_terms: dict[str, Any] = {"automatic": True, "rank": 1, "first_slot": self._world.first_slot, "end_slot": 0}
        shares = []
        for helping, helped in HELPERS:
            giver, taker = self._networks[helping, HVAC], self._networks[helped, HVAC]
            cap = budget_of(giver, days) * HELP_PERMILLE // 1000
            terms = {"giver": giver.id, "taker": taker.id, "kind": SHARE, "cap": cap, "same_class": True, "price": 0}
            shares.append(_number(await self._do(MEMBER, "agreements", "propose", {**open_terms, **terms})))
        seller = self._networks[SELLER, REFRIGERATION]
        cap = budget_of(seller, days) * SALE_PERMILLE // 1000
        terms = {"giver": seller.id, "taker": NEIGHBOUR_NETWORK, "kind": SALE, "cap": cap, "same_class": False}
        price = {"price": PRICE_PERMILLE}
        sale = await self._do(owner_of(seller), "agreements", "propose", {**open_terms, **terms, **price})
        await self._do(NEIGHBOUR, "agreements", "accept", {"agreement": sale})
        return Agreed(period, tuple(shares), _number(sale))

    async def _policies(self, agreed: Agreed) -> None:
        """Policies and forecasts, then each owner allocates as its policy says."""
        company = self._world.company
        steps: list[_Step] = []
        for network in company.all_networks:
            sells = (network.shop, network.kind) == (SELLER, REFRIGERATION)
            policy = policy_of(network, company.days, agreed.sale if sells else 0)
            steps.append((owner_of(network), "budget", "set_policy", policy))
            for device in network.devices if network.kind in FORECAST_KINDS else ():
                forecast = {"device": device.id, "period": agreed.period, "amount": cost(device, company.days)}
                if forecast["amount"]:
                    steps.append((owner_of(network), "budget", "set_forecast", forecast))
        await self._all(steps)
        await self._all(
            [
                (owner_of(network), "budget", "allocate_by_policy", {"network": network.id, "period": agreed.period})
                for network in company.all_networks
            ]
        )

    def _reserve(self) -> int:
        company = self._world.company
        return sum(budget_of(network, company.days) for network in company.networks) * RESERVE_PERMILLE // 1000

    async def _do(self, who: str, contract: str, method: str, args: dict[str, Any]) -> Value:
        """One decision; what it came to. Raises RefusedError."""
        raw = self._sender.sign(self._world.keys[who], contract, method, args, DECISION_VALID_S)
        status = await self._sender.outcome(raw)
        if status.code != "ok":
            raise RefusedError(status.code, f"{contract}.{method} of {who} was refused")
        self._sender.committed["decisions"] += 1
        return status.result

    async def _all(self, steps: list[_Step]) -> None:
        """Decisions that need nothing of one another, of each key no more at once than nodes take out of order. Raises
        RefusedError if one was refused."""
        before = sum(self._sender.refused.values())
        turns: Counter[str] = Counter()
        rounds: dict[int, list[bytes]] = {}
        for who, contract, method, args in steps:
            raw = self._sender.sign(self._world.keys[who], contract, method, args, DECISION_VALID_S)
            rounds.setdefault(turns[who] // AT_ONCE, []).append(raw)
            turns[who] += 1
        for raws in rounds.values():
            await self._sender.all("decisions", raws)
        if sum(self._sender.refused.values()) != before:
            raise RefusedError("not-prepared", f"{steps[0][1]}.{steps[0][2]}: {dict(self._sender.refused)}")


def _number(value: Value) -> int:
    if not isinstance(value, int):
        raise RefusedError("bad-answer", "the node's answer is no number")
    return value
