"""The trading process: follows the blocks, decides at intervals of block time, and sends what its homes decided.

The homes of one process share a connection and nothing else; each decides from its own view, with its own key. A home's
orders are void after the gate that they were made for, so nothing that got stuck on the way trades later. When the
gateway is lost the next one is asked, and blocks are followed on from where they stopped.
"""

import asyncio
import logging
from pathlib import Path

from broker.config import BrokerConfig, Home
from broker.home_view import HomeView
from broker.observation import Action, Cancel, HomeModel, Place
from broker.strategy import decide
from broker.terms import Terms
from chaincode.market_products import Settings
from chaincode.market_trading import MIN_ORDER_WH
from cli.output import UNREACHABLE_CODE
from cli.session import Account
from node.errors import ConfigError, RefusedError
from node.gateway.client import Client
from node.keyfile import load_key

log = logging.getLogger("watt.broker")

HORIZON_S = 86_400
KEEP_SLOTS = 8
"""Slots are remembered one by one for so long after their gate: until their readings have come."""
PATIENCE_S = 60.0
"""How long an agent looks for a gateway before it gives up."""


class Agent:
    """One home: its model from the ledger, its view, its key."""

    def __init__(self, home: HomeModel, view: HomeView, account: Account) -> None:
        self.home = home
        self.view = view
        self.account = account


class Broker:
    """The agents of one process and what they share."""

    def __init__(self, config: BrokerConfig, client: Client, agents: list[Agent], terms: Terms) -> None:
        self._config = config
        self._client = client
        self._agents = agents
        self._terms = terms

    async def follow(self) -> None:
        """Show every block to every agent, from the first one on, through the loss of any gateway."""
        height = 1
        while True:
            try:
                async for block in self._client.subscribe(height):
                    height = block.height + 1
                    self._terms.apply(block.events)
                    for agent in self._agents:
                        agent.view.apply(block.events)
            except RefusedError as error:
                if error.code != UNREACHABLE_CODE:
                    raise
            await asyncio.sleep(self._config.poll_ms / 1000)

    async def trade(self) -> None:
        """Decide whenever ``decide_s`` of block time have passed, until the last slot's gate."""
        loop = asyncio.get_running_loop()
        decided, answered = -1, loop.time()
        while True:
            try:
                now = (await self._client.node_info()).now
                first = max(self._terms.first_open(now), self._config.first_slot)
                if first >= self._config.end_slot:
                    return
                if now // self._config.decide_s > decided:
                    decided = now // self._config.decide_s
                    await self._decide(now, first)
                answered = loop.time()
            except RefusedError as error:
                if error.code != UNREACHABLE_CODE or loop.time() - answered > PATIENCE_S:
                    raise
                log.warning("no gateway answers: %s", error.message)
            await asyncio.sleep(self._config.poll_ms / 1000)

    async def _decide(self, now: int, first: int) -> None:
        for agent in self._agents:
            seen = agent.view.observe(now, first, self._terms.slots_ahead, self._terms.of)
            actions = [action for action in decide(agent.home, seen) if self._is_ours(action)]
            if actions:
                await self._send(agent, actions, first)
            agent.view.forget_before(first - KEEP_SLOTS)
        self._terms.forget_before(first - KEEP_SLOTS)

    def _is_ours(self, action: Action) -> bool:
        return isinstance(action, Cancel) or action.slot < self._config.end_slot

    async def _send(self, agent: Agent, actions: list[Action], first: int) -> None:
        """A refusal is logged and forgotten: the next decision starts from what the ledger then shows."""
        raws = [await self._sign(agent, action, first) for action in actions]
        for action, (_, code) in zip(actions, await self._client.submit_many(raws), strict=True):
            if code != "ok":
                log.warning("%s: %s was refused: %s", agent.home.network, action, code)
                agent.account.forget_nonce()

    async def _sign(self, agent: Agent, action: Action, first: int) -> bytes:
        if isinstance(action, Place):
            args = {
                "device": action.device,
                "side": action.side,
                "slot": action.slot,
                "energy_wh": action.energy_wh,
                "price": action.price,
            }
            return await agent.account.sign("market", "place", args, self._terms.gate(action.slot))
        return await agent.account.sign("market", "cancel", {"order": action.order}, self._terms.gate(first))


async def run(config: BrokerConfig, directory: Path, passphrase: str) -> None:
    """Trade until the last slot's gate has passed, or for ever. ``directory``: what key files are relative to.

    Raises WattError if a key or a home cannot be used, or when no gateway answers for PATIENCE_S.
    """
    async with Client(config.gateways) as client:
        chain = (await client.node_info()).chain
        agents = []
        for home in config.homes:
            model = await _model(client, home)
            account = Account(client, load_key(directory / home.key_file, passphrase), chain)
            agents.append(Agent(model, HomeView(model, home), account))
        settings = await _settings(client)
        broker = Broker(config, client, agents, Terms(settings, HORIZON_S // settings.slot_seconds))
        following = asyncio.create_task(broker.follow())
        trading = asyncio.create_task(broker.trade())
        await asyncio.wait({following, trading}, return_when=asyncio.FIRST_COMPLETED)
        for task in (trading, following):
            if task.done():
                task.result()
            task.cancel()
        await asyncio.gather(following, trading, return_exceptions=True)


async def _settings(client: Client) -> Settings:
    """The rules of the genesis document; what changed since, the blocks' events tell."""
    match await client.query("rules", "history"):
        case ((0, _, _, None, tuple(fields)), *_) if len(fields) == len(Settings._fields):
            return Settings(*fields)  # type: ignore[arg-type]
        case other:
            raise ConfigError("bad-answer", f"the market's first rules are {other!r}")


async def _model(client: Client, home: Home) -> HomeModel:
    """The home's devices as registered, one of each kind. Raises ConfigError("bad-home")."""
    settings = await _settings(client)
    found: dict[str, tuple[str, int, int]] = {}
    names = await client.query("identity", "devices", {"network": home.network})
    for name in names if isinstance(names, tuple) else ():
        match await client.query("identity", "device", {"device": name}):
            case (str(device), _, str(kind), _, _, int(import_w), int(export_w), *_):
                found[kind] = (device, import_w, export_w)
    if "load" not in found:
        raise ConfigError("bad-home", f"{home.network} has no device of the kind load")
    nothing = (None, 0, 0)
    pv, battery, ev = (found.get(kind, nothing) for kind in ("pv", "battery", "ev"))
    return HomeModel(
        network=home.network,
        load=found["load"][0],
        pv=pv[0],
        battery=battery[0] if home.battery is not None else None,
        ev=ev[0] if home.ev is not None else None,
        slot_seconds=settings.slot_seconds,
        min_order_wh=MIN_ORDER_WH,
        pv_w=pv[2],
        battery_capacity_wh=home.battery.capacity_wh if home.battery is not None else 0,
        battery_power_w=min(battery[1:]),
        battery_efficiency_permille=home.battery.efficiency_permille if home.battery is not None else 1000,
        ev_power_w=ev[1],
    )
