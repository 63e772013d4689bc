"""The trading process: one connection for all sites on one ledger; blocks in, decisions out, through whichever gateway.

Block time rules: a site decides every ``decide_every`` seconds of it, and its setpoints follow. A transaction is valid
for a few decisions at most and never after the gate that it is for, so nothing that got stuck on the way trades later;
until its fate is known the site decides nothing new. When all gateways are gone this is said, they are tried again at
growing intervals, and what rests on the ledger expires at its gates. Blocks are followed on from where they stopped; if
no gateway has the next one any more, or the answers and the events disagree, the ledger is asked anew. What goes wrong
with one site is told, and keeps no other from its turn.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from typing import Final

from broker import asked
from broker.batches import batches, call_of
from broker.changes import Action
from broker.decision import Budget, Decision, Terms
from broker.prices import PriceBook
from broker.registered import moves_of
from broker.site_agent import KEPT_SLOTS, SiteAgent
from broker.terms import TermsBook
from chaincode.market_products import CLOSED, Settings
from cli.answers import ORDER, records
from cli.session import Account
from node.errors import RefusedError
from node.gateway.answers import BlockEvents, NodeInfo
from node.gateway.client import Client, digest_of, tx_id_of
from node.model.genesis import Genesis

log = logging.getLogger("watt.broker")

PAUSES_S: Final = (0.2, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Between tries when no gateway answers; the last one again and again."""
QUIET_S: Final = 30.0
"""A gateway that brings no block for so long is left for the next one."""
VALID_DECISIONS: Final = 3
LEAST_VALID_S: Final = 60
LOOK_BACK_DAYS: Final = 14
"""So far back readings are asked for that the site's own files do not hold."""
PRICED_DAYS: Final = 7
"""So far back prices are asked for that no journal holds."""
PRICES_AT_ONCE: Final = 48
MOST_PRICED: Final = 4_096
CLOCK_TOLERANCE_S: Final = 30
TRY_AGAIN: Final = frozenset({
    "unreachable", "untrusted-node", "slow-subscriber", "stopping", "not-a-member", "busy", "too-fast",
    "too-many-subscribers", "too-many-connections", "mempool-full", "no-block", "below-base", "slow-request",
})  # fmt: skip
ASK_ANEW: Final = frozenset({"unknown-order", "not-open", "own-cross", "over-capacity", "bad-energy", "too-many"})
"""Refusals that say that the ledger does not look as it is thought to."""
OWN_NONCE: Final = frozenset({"nonce-used", "nonce-out-of-window"})


class Site:
    """A site in this process: its agent, the account that it signs with, and what is on its way."""

    def __init__(self, agent: SiteAgent, account: Account) -> None:
        self.agent = agent
        self.account = account
        self.pending: dict[bytes, tuple[int, tuple[Action, ...]]] = {}
        """Transaction -> until when it may be executed, and what it does; nothing if an earlier life has sent it."""
        self.digests: dict[bytes, bytes] = {}
        """Digest -> transaction of what this life has sent: blocks tell the digests."""
        self.decided = -1
        self.is_lost = True
        self.period = asked.Period(-1, 0, 0)


class Trading:
    """All sites of this process on one ledger."""

    def __init__(
        self, client: Client, sites: Sequence[Site], rules: TermsBook, settings: Settings, prices: PriceBook,
        priced: set[tuple[int, str]], genesis: Genesis | None,
    ) -> None:  # fmt: skip
        """``priced``: the slots and buses whose prices the price book knows."""
        self._client = client
        self._sites = sites
        self._rules = rules
        self._settings = settings
        self._prices = prices
        self._genesis = genesis
        self._scale = genesis.time_scale if genesis is not None else 1
        self._height = 0
        self._head_time = 0
        self._closed: set[int] = set()
        self._priced = priced
        self._poll_s = min(site.agent.file.poll_ms for site in sites) / 1000

    async def run(self) -> None:
        """Until the last slot of every site's file has been traded, or for ever."""
        info = await self._info()
        self._height = info.height
        await self._learn_past(info.now)
        following = asyncio.create_task(self._follow())
        trading = asyncio.create_task(self._trade())
        try:
            await asyncio.wait({following, trading}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (trading, following):
                if not task.done():
                    task.cancel()
            await asyncio.gather(following, trading, return_exceptions=True)
        for task in (trading, following):
            if not task.cancelled():
                task.result()

    # Following

    async def _follow(self) -> None:
        """Show every block to every site, from the one after the present on, through the loss of any gateway."""
        failures = gone = 0
        while True:
            try:
                async for block in _until_quiet(self._client, self._height + 1):
                    self._take(block)
                    failures = gone = 0
            except RefusedError as error:
                if error.code not in TRY_AGAIN:
                    log.warning("this gateway's blocks cannot be followed: %s; the next one is asked", error)
                gone += error.code == "below-base"
                if gone > len(PAUSES_S):  # nobody has the blocks that were missed
                    info = await self._info()
                    self._height, gone = info.height, 0
                    await self._learn_past(info.now)
                    for site in self._sites:
                        site.is_lost = True
                if _is_the_gateways(error) or error.code == "below-base":
                    self._client.turn_away()
                await asyncio.sleep(PAUSES_S[min(failures, len(PAUSES_S) - 1)])
                failures += 1
            else:
                self._client.turn_away()

    def _take(self, block: BlockEvents) -> None:
        self._height, self._head_time = block.height, block.time
        self._rules.apply(block.events)
        for event in block.events:
            match event.topic, event.data:
                case "product", (int(slot), str(state)) if state == CLOSED:
                    self._closed.add(slot)
        for site in self._sites:
            try:
                site.agent.heard(block.height, block.time, block.events)
            except Exception:  # a mistake of ours in one site must not stop the others
                log.exception("%s: block %d could not be taken in", site.agent.site.network, block.height)
                _failed(site, "a block could not be taken in", block.time)
            if site.pending:
                for digest, code in block.results:
                    self._ended(site, site.digests.pop(digest, b""), code, block.time)
                for tx_id in [each for each, (last, _) in site.pending.items() if last < block.time]:
                    self._ended(site, tx_id, "expired", block.time)
                if not site.pending:
                    site.digests.clear()

    def _ended(self, site: Site, tx_id: bytes, code: str, now: int) -> None:
        """What became of a transaction."""
        if tx_id not in site.pending:
            return
        _, actions = site.pending.pop(tx_id)
        if code != "ok":
            for action in actions:
                site.agent.refused(action, code, now)
            site.is_lost = site.is_lost or code in ASK_ANEW
        if code in OWN_NONCE or code == "expired":
            site.account.forget_nonce()

    # Trading

    async def _trade(self) -> None:
        while True:
            info = await self._info()
            self._check_clock(info)
            if await self._round(info):
                return
            await asyncio.sleep(self._poll_s)

    async def _round(self, info: NodeInfo) -> bool:
        """Let every site decide whose time has come; whether all have come to their end."""
        first_open = self._rules.first_open(info.now)
        alive = [site for site in self._sites if max(first_open, site.agent.file.first_slot) < site.agent.file.end_slot]
        await self._learn_prices(info.now)
        self._rules.forget_before(first_open - KEPT_SLOTS)
        for site in alive:
            await self._turn(site, info)
        return not alive

    async def _turn(self, site: Site, info: NodeInfo) -> None:
        """Let one site decide if its time has come. What goes wrong is told, and keeps no other from its turn."""
        lost_before = info.now - LEAST_VALID_S * self._scale  # blocks tell sooner, unless there are none
        for tx_id in [each for each, (last, _) in site.pending.items() if last < lost_before]:
            self._ended(site, tx_id, "expired", info.now)
        if info.now // site.agent.file.decide_every <= site.decided:
            return
        try:
            if site.is_lost:
                await self._ask_pending(site)
            if site.pending:
                return
            if site.is_lost:
                await self._find(site, info)
            info = await self._info()  # what was before has taken its time
            first = max(self._rules.first_open(info.now), site.agent.file.first_slot)
            if first < site.agent.file.end_slot:
                await self._site_round(site, info, first)
        except RefusedError as error:
            site.agent.say("gateway", f"no decision could be sent: {error.code}: {error.message}", info.now)
            if _is_the_gateways(error):
                self._client.turn_away()
                site.is_lost = True
            return
        except Exception:  # a mistake of ours in one site must not stop the others; its orders end at their gates
            log.exception("%s: no decision could be made", site.agent.site.network)
            _failed(site, "no decision could be made", info.now)
        else:
            site.agent.say("failure", "", info.now)
        site.agent.say("gateway", "", info.now)
        site.decided = info.now // site.agent.file.decide_every

    async def _site_round(self, site: Site, info: NodeInfo, first: int) -> None:
        agent = site.agent
        last = min(agent.file.end_slot, first + agent.file.orders_ahead)
        opened = (info.now + self._settings.open_before_s) // self._settings.slot_seconds
        count = max(1, min(last, opened + 1) - first)
        budgets: list[Budget] = []
        for slot in range(first, first + count):
            is_known = bool(budgets) and site.period.first <= slot < site.period.end
            budgets.append(budgets[-1] if is_known else await self._budget(site, slot, info.now))
        running = info.now // self._settings.slot_seconds
        decision = agent.decide(info.now, first, count, self._terms, tuple(budgets), self._settings.mix_permille)
        agent.setpoint(info.now, running, self._terms(running))
        await self._send(site, decision, info.now)

    async def _send(self, site: Site, decision: Decision, now: int) -> None:
        """Sign, write down, hand in. If no gateway answers, blocks will tell what became of it."""
        agent = site.agent
        raws: list[bytes] = []
        valid_until = now + max(LEAST_VALID_S, VALID_DECISIONS * agent.file.decide_every)
        for each in decision.slots:
            not_after = min(valid_until, self._terms(each.slot).gate)
            for batch in batches(each.actions):
                raw = await site.account.sign("market", *call_of(batch), not_after)
                for action in batch:
                    agent.sent(action, each.slot, tx_id_of(raw), not_after, now)
                site.pending[tx_id_of(raw)] = not_after, batch
                site.digests[digest_of(raw)] = tx_id_of(raw)
                raws.append(raw)
        if not raws:
            return
        for tx_id, code in await self._client.submit_many(raws):
            if code not in ("ok", "duplicate"):
                self._ended(site, tx_id, code, now)
                site.account.forget_nonce()

    # Asking

    async def _ask_pending(self, site: Site) -> None:
        """Ask what became of what an earlier life has sent, in blocks that this one has not followed."""
        for tx_id in [each for each, (_, actions) in site.pending.items() if not actions]:
            if (await self._client.status(tx_id)).state == "committed":
                site.pending.pop(tx_id, None)

    async def _find(self, site: Site, info: NodeInfo) -> None:
        """Learn from the ledger what the site has open and contracted, and which readings and moves were missed."""
        agent = site.agent
        site.is_lost = False  # a refusal that comes while we ask may say that it is lost again
        try:
            await self._ask(agent, info)
        except Exception:
            site.is_lost = True
            raise

    async def _ask(self, agent: SiteAgent, info: NodeInfo) -> None:
        for device in agent.site.devices:
            height, rows = await self._client.query_at("market", "orders", {"device": device})
            if height < self._height:
                raise RefusedError("no-block", "the gateway that was asked is behind")
            agent.view.reset(device, height, records(rows, ORDER))
        agent.moves = {**agent.moves, **await moves_of(self._client, agent.site.devices)}
        seconds = self._settings.slot_seconds
        running = info.now // seconds
        begun, opened = await asked.span(self._client)
        oldest = max(begun, running - LOOK_BACK_DAYS * 86_400 // seconds, agent.measured.newest - 1)
        for reading in await asked.readings(self._client, agent.site.devices, oldest, min(running, opened)):
            agent.measured.take(reading)
        self._rules.seed(await asked.opened(self._client))

    async def _budget(self, site: Site, slot: int, now: int) -> Budget:
        """The tokens of the site's devices in the billing period of ``slot``."""
        network = site.agent.site.network
        if not site.period.first <= slot < site.period.end:
            site.period = await asked.period_of(self._client, network, slot)
        devices, seconds = site.agent.site.devices, self._settings.slot_seconds
        return await asked.budget(self._client, devices, site.period, now, seconds)

    async def _learn_past(self, now: int) -> None:
        """Have those slots' prices asked for that have closed while nothing was followed."""
        running = now // self._settings.slot_seconds
        try:
            begun, _ = await asked.span(self._client)
        except RefusedError as error:
            log.warning("past prices are not asked for: %s", error.message)
            return
        oldest = max(begun, running - PRICED_DAYS * 86_400 // self._settings.slot_seconds)
        self._closed |= set(range(oldest, running)) - {slot for slot, _ in self._priced}

    async def _learn_prices(self, now: int) -> None:
        """Ask at what prices the slots cleared whose gates have passed; a few at a time."""
        for slot in sorted(self._closed)[:PRICES_AT_ONCE]:
            try:
                await self._learn_price(now, slot)
            except RefusedError as error:
                if error.code in TRY_AGAIN:
                    return
                log.info("the price of slot %d is not known: %s", slot, error.code)  # its details have been deleted
            self._closed.discard(slot)

    async def _learn_price(self, now: int, slot: int) -> None:
        terms, traded_wh, prices = await asked.cleared(self._client, slot)
        for site in self._sites:
            bus = site.agent.site.bus
            price = prices.get(bus, (terms.retail + terms.feed_in) // 2)  # without an auction there was no trade
            if (slot, bus) not in self._priced:
                self._prices.observe(slot, bus, price, traded_wh, terms.retail, terms.feed_in)
                self._priced.add((slot, bus))
                if len(self._priced) > MOST_PRICED:
                    self._priced.discard(min(self._priced))
            site.agent.learn_price(now, slot, bus, price, traded_wh, terms)

    def _terms(self, slot: int) -> Terms:
        return Terms(*self._rules.of(slot))

    async def _info(self) -> NodeInfo:
        """Where the ledger stands; asked until somebody answers."""
        failures, since = 0, time.monotonic()
        while True:
            try:
                info = await self._client.node_info()
            except RefusedError as error:
                if _is_the_gateways(error):
                    self._client.turn_away()
                if failures == len(PAUSES_S) // 2:
                    words = f"no gateway answers ({error.message}); they are tried again, and orders end at their gates"
                    for site in self._sites:
                        site.agent.say("gateways", words, self._head_time)
                await asyncio.sleep(PAUSES_S[min(failures, len(PAUSES_S) - 1)])
                failures += 1
                continue
            if failures > len(PAUSES_S) // 2:
                log.info("a gateway answers again after %.0f s", time.monotonic() - since)
                for site in self._sites:
                    site.agent.say("gateways", "", info.now)
            return info

    def _check_clock(self, info: NodeInfo) -> None:
        """Say how far this machine's clock is from block time. Block time counts."""
        clock_ms = time.time_ns() // 1_000_000
        own = self._genesis.block_time(clock_ms) if self._genesis is not None else clock_ms // 1000
        off = (own - info.now) / self._scale
        words = ""
        if abs(off) > CLOCK_TOLERANCE_S:
            side = "ahead of" if off > 0 else "behind"
            words = f"this machine's clock is {abs(off):.0f} s {side} the ledger's: block time is used"
        for site in self._sites:
            site.agent.say("clock", words, info.now)


def _is_the_gateways(error: RefusedError) -> bool:
    """Whether another gateway may know better: this one is behind, or answers what it should not."""
    return error.code == "no-block" or error.code not in TRY_AGAIN


def _failed(site: Site, words: str, now: int) -> None:
    """Tell of a mistake of ours; the site starts again from what the ledger says."""
    site.agent.say("failure", f"{words}: a mistake of this program, see its log", now)
    site.is_lost = True


async def _until_quiet(client: Client, height: int) -> AsyncIterator[BlockEvents]:
    """The blocks from ``height`` on, until none comes for a while."""
    stream = client.subscribe(height)
    while True:
        try:
            async with asyncio.timeout(QUIET_S):  # ``wait_for`` may lose a cancellation that comes with a block
                block = await anext(stream)
        except TimeoutError:
            return
        yield block
