"""The demo's homes, a process of its own: their devices run, their meters report. `python -m testnet.demo_meters DIR`.

It sees the ledger through a gateway, each home's part of it with the key of the home's devices: at the end of every
slot it looks up what each device has contracted, lets the home's devices run on the measured load and sun, as the
home's broker has written down for the slot (``plant.py``), and has the meters sign what flowed. What is in battery and
EV then it tells the broker by the home's state file. A reading that is in no block after a while is handed in again,
the same bytes, through whichever gateway answers.
"""

import asyncio
import json
import logging
import sys
from contextlib import AsyncExitStack
from pathlib import Path

from cli.output import UNREACHABLE_CODE
from cli.session import Account
from node.errors import RefusedError
from node.gateway.client import Client, NodeInfo, digest_of
from testnet.community import Home, load_community
from testnet.demo_world import (
    GATE_BEFORE_END_S,
    SETPOINTS_NAME,
    SLOT_S,
    STATES_NAME,
    World,
    device,
    load_world,
    site_of,
    states,
    tariff,
)
from testnet.plant import KINDS, Flow, Setpoint, Slot, first_plant, run_slot

log = logging.getLogger("watt.meters")

POLL_S = 0.1
REPEAT_S = 1.5


class Meters:
    """One home: its plant, its controller, and its meters with their registers."""

    def __init__(self, world: World, home: Home, client: Client, account: Account) -> None:
        """``client``: reads with the devices' key; ``account``: signs with the meters'."""
        self._world = world
        self._home = home
        self._site = site_of(home)
        self._client = client
        self._account = account
        self._directory = world.site_directory(home)
        self._plant = first_plant(home)
        self._registers = dict.fromkeys(KINDS, Flow(0, 0))
        self._told: tuple[int, dict[str, Setpoint]] = (-1, {})

    def listen(self, slot: int) -> None:
        """Take in what the broker says while ``slot`` is under way."""
        try:
            said = json.loads((self._directory / SETPOINTS_NAME).read_bytes())
        except FileNotFoundError:
            return
        if said["slot"] == slot:
            kinds = {device(self._home.name, kind): kind for kind in KINDS}
            points = {kinds[name]: Setpoint(row["wh"], row["value"]) for name, row in said["devices"].items()}
            self._told = slot, points

    async def read(self, slot: int, not_after: int) -> list[bytes]:
        """Run the slot and sign a reading for every device."""
        contracts = {kind: await _contract(self._client, device(self._home.name, kind), slot) for kind in KINDS}
        index = slot - self._world.first_slot
        points = self._told[1] if self._told[0] == slot else {}
        now = Slot(index, *tariff(index), contracts, points)
        self._plant, flows = run_slot(self._home, self._site, self._plant, now)
        with (self._directory / STATES_NAME).open("a") as file:
            lines = states(self._world, self._home, (slot + 1) * SLOT_S, self._plant)
            file.write("".join(f"{line}\n" for line in lines))
        return [await self._sign(kind, slot, flow, not_after) for kind, flow in flows.items()]

    async def _sign(self, kind: str, slot: int, flow: Flow, not_after: int) -> bytes:
        before = self._registers[kind]
        after = Flow(before.import_wh + flow.import_wh, before.export_wh + flow.export_wh)
        self._registers[kind] = after
        args = {
            "device": device(self._home.name, kind),
            "slot": slot,
            "import_wh": flow.import_wh,
            "export_wh": flow.export_wh,
            "import_register": after.import_wh,
            "export_register": after.export_wh,
        }
        return await self._account.sign("settlement", "report", args, not_after)


class Outbox:
    """Readings on their way, until a block has them."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._waiting: dict[bytes, bytes] = {}

    async def send(self, raws: list[bytes]) -> None:
        """Hand in, and remember."""
        for (_, code), raw in zip(await self._client.submit_many(raws), raws, strict=True):
            self._waiting[digest_of(raw)] = raw
            if code not in ("ok", "duplicate"):
                log.warning("a reading was refused: %s", code)

    async def follow(self) -> None:
        """Forget what blocks bring; hand in again what no block has brought for a while."""
        height = (await self._client.node_info()).height
        while True:
            try:
                async for block in self._client.subscribe(height + 1):
                    height = block.height
                    for digest, code in block.results:
                        if self._waiting.pop(digest, None) is not None and code != "ok":
                            log.warning("a reading was refused in block %d: %s", height, code)
            except RefusedError as error:
                if error.code != UNREACHABLE_CODE:
                    raise
            await asyncio.sleep(POLL_S)

    async def repeat(self) -> None:
        """Hand in again, at intervals, what was waiting at the last one too."""
        before: set[bytes] = set()
        while True:
            late = [raw for digest, raw in self._waiting.items() if digest in before]
            before = set(self._waiting)
            if late:
                log.info("%d readings are handed in again", len(late))
                await self._client.submit_many(late)
            await asyncio.sleep(REPEAT_S)

    async def drained(self) -> None:
        """Wait until nothing is waiting."""
        while self._waiting:
            await asyncio.sleep(POLL_S)


async def run(world: World, homes: tuple[Home, ...]) -> None:
    """The whole day, slot by slot."""
    gateways, chain = world.network.gateways, world.network.genesis.chain
    async with Client(gateways) as client, world.network.client() as whole, AsyncExitStack() as opened:
        meters = []
        for home in homes:
            own = await opened.enter_async_context(Client(gateways, world.key(f"{home.name}.broker"), chain=chain))
            meters.append(Meters(world, home, own, Account(whole, world.key(f"{home.name}.meter"), chain)))
        outbox = Outbox(client)
        helpers = [asyncio.create_task(outbox.follow()), asyncio.create_task(outbox.repeat())]
        for slot in range(world.first_slot, world.end_slot):
            info = await _slot_over(client, slot, meters)
            raws = [raw for home in meters for raw in await home.read(slot, info.now + 2 * SLOT_S)]
            await outbox.send(raws)
        await outbox.drained()
        for helper in helpers:
            helper.cancel()
        await asyncio.gather(*helpers, return_exceptions=True)


async def _slot_over(client: Client, slot: int, homes: list[Meters]) -> NodeInfo:
    """Wait for the end of the slot, and for a block behind its gate: then its contracts are known."""
    ends = (slot + 1) * SLOT_S
    while True:
        info = await client.node_info()
        for home in homes:
            home.listen(slot)
        if info.now >= ends and info.head_time >= ends - GATE_BEFORE_END_S:
            return info
        await asyncio.sleep(POLL_S)


async def _contract(client: Client, device_id: str, slot: int) -> int:
    """What the device has bought minus sold, in Wh."""
    match await client.query("market", "position", {"device": device_id, "slot": slot}):
        case (_, _, int(bought), int(sold), *_):
            return bought - sold
        case _:
            return 0


def main(directory: Path) -> None:
    """Run the homes of the world in ``directory``."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO)
    world = load_world(directory)
    asyncio.run(run(world, load_community(world.data, world.date).homes))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
