"""Starting the agents of a process: files, keys, journals and what the ledger says of the sites, then trading."""

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Any, Final

from broker.journal import Journal, entries
from broker.measured import Measured, read_history
from broker.prices import PriceBook
from broker.registered import Registered, find_site
from broker.site_agent import SiteAgent
from broker.site_file import SiteFile
from broker.terms import TermsBook
from broker.trading import PAUSES_S, TRY_AGAIN, Site, Trading
from chaincode.market_products import Settings
from cli.answers import record
from cli.output import count
from cli.session import Account
from node.errors import ConfigError, RefusedError
from node.gateway.client import Client, NodeInfo
from node.model.genesis import Genesis, load_genesis
from node.model.keys import Signer
from node.pki.trust import load_roots
from node.signer import open_signer

log = logging.getLogger("watt.broker")

MOST_SITES: Final = 64
"""Of one process."""
SIGN_S: Final = 2.0
"""For a signature by another program: all sites of a process wait for it."""
TX_HEX: Final = 64
"""The length of a transaction's id in the journal."""


class Keyed:
    """A site's file and the key that it names."""

    def __init__(self, file: SiteFile, passphrase: str) -> None:
        self.file = file
        self.key: Signer = open_signer(file.path(file.key_file), passphrase, SIGN_S)
        self.genesis: Genesis | None = load_genesis(file.path(file.genesis)) if file.genesis else None
        self.chain = self.genesis.chain if self.genesis is not None else bytes.fromhex(file.chain)


async def run(sites: Sequence[Keyed]) -> None:
    """Trade for all of them until the last slot of each, or for ever. Sites on one ledger that name the same gateways
    and are traded for with one key share a connection, which reads with that key. If one cannot go on that is told, and
    the others do; it is raised when all have ended.

    Raises ConfigError: "wrong-network" if the gateways serve another ledger, what ``find_site``, ``Journal`` and
    ``read_history`` raise, and "too-many-sites".
    """
    if len(sites) > MOST_SITES:
        raise ConfigError("too-many-sites", f"{len(sites)} sites: a process trades for at most {MOST_SITES}")
    groups: dict[tuple[tuple[str, ...], bytes, bytes], list[Keyed]] = {}
    for site in sites:
        groups.setdefault((site.file.gateways, site.chain, site.key.public_key), []).append(site)
    await _to_their_ends(
        [(", ".join(site.file.network for site in group), _run_group(group)) for group in groups.values()]
    )


async def _to_their_ends(runs: Sequence[tuple[str, Coroutine[Any, Any, None]]]) -> None:
    """Run all side by side until each has ended. One that fails ends no other; the first failure is raised last."""
    failures: list[Exception] = []

    async def told(name: str, running: Coroutine[Any, Any, None]) -> None:
        try:
            await running
        except Exception as error:
            if len(runs) > 1:
                log.exception("%s: no longer traded for", name)
            failures.append(error)

    async with asyncio.TaskGroup() as group:
        for name, running in runs:
            group.create_task(told(name, running))
    if failures:
        raise failures[0]


async def _run_group(group: Sequence[Keyed]) -> None:
    first = group[0]
    journals: list[Journal] = []
    roots = load_roots(first.file.path(first.file.ca_file)) if first.file.ca_file else None
    async with Client(first.file.gateways, first.key, roots, first.chain) as client:
        try:
            info = await _reach(client)
            if info.chain != first.chain:
                raise ConfigError(
                    "wrong-network", f"{first.file.gateways[0]} serves {info.chain.hex()}, not {first.chain.hex()}"
                )
            settings = Settings(**record(await client.query("market", "settings"), Settings._fields))
            prices = PriceBook(settings.slot_seconds)
            sites: list[Site] = []
            priced: set[tuple[int, str]] = set()
            for keyed in group:
                journals.append(Journal(keyed.file.path(keyed.file.journal)))
                found = await find_site(
                    client, keyed.file, keyed.key.public_key, settings, info.now // settings.slot_seconds
                )
                account = Account(client, keyed.key, info.chain)
                agent = _agent(keyed.file, found, info, prices, journals[-1])
                sites.append(_recalled(agent, account, info, priced))
            log.info("%s on %s, from block %d on", count(len(sites), "site"), info.network, info.height)
            await Trading(client, sites, TermsBook(settings), settings, prices, priced, first.genesis).run()
        finally:
            for journal in journals:
                journal.close()


def _agent(file: SiteFile, found: Registered, info: NodeInfo, prices: PriceBook, journal: Journal) -> SiteAgent:
    seconds = found.site.slot_seconds
    earlier = read_history(file.path(file.history_file), seconds) if file.history_file else []
    measured = Measured(file.path(file.journal), found.site, info.now // seconds, earlier)
    return SiteAgent(file, found, journal, measured, prices, info.now // seconds)


def _recalled(agent: SiteAgent, account: Account, info: NodeInfo, priced: set[tuple[int, str]]) -> Site:
    """The site with what its journal tells. What an earlier life has sent and may still be executed is waited for."""
    site = Site(agent, account)
    for entry in entries(agent.file.path(agent.file.journal)):
        agent.recall(entry, priced)
        match entry:
            case {"kind": "sent", "tx": str(tx), "not_after": int(not_after)} if (
                not_after >= info.now and len(tx) == TX_HEX
            ):
                with suppress(ValueError):  # no transaction's id
                    site.pending[bytes.fromhex(tx)] = not_after, ()
    what = {"network": agent.site.network, "slot_seconds": agent.site.slot_seconds, "height": info.height}
    agent.journal.write("started", info.now, **what, pending=len(site.pending))
    return site


async def _reach(client: Client) -> NodeInfo:
    """Where the ledger stands; asked until somebody answers."""
    failures = 0
    while True:
        try:
            return await client.node_info()
        except RefusedError as error:
            if error.code not in TRY_AGAIN:
                raise
            if not failures:
                log.warning("no gateway answers yet: %s", error.message)
            await asyncio.sleep(PAUSES_S[min(failures, len(PAUSES_S) - 1)])
            failures += 1
