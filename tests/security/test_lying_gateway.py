"""A lying gateway: between a light wallet and a real node stands one that changes what the node says.

Every field of every reply is changed, by walking the protobuf descriptors; replies are replayed and cut short. The
wallet answers what the honest node says, or names the liar; it never believes anything else.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest
from click.testing import CliRunner, Result
from google.protobuf.message import Message

from chaincode.contract import Value
from chaincode.registry import default_registry
from cli.main import main
from node.errors import RefusedError
from node.gateway.client import Client
from node.gateway.proven import KnownEpochs, ProvenReader
from node.keyfile import load_key
from node.light import LightChain
from node.model.block import decode_header
from node.model.genesis import Genesis, load_genesis
from node.model.keys import SigningKey
from protos import gateway_pb2 as pb
from testnet.cluster import Cluster
from testnet.genesis import GENESIS_NAME, PASSPHRASE_NAME
from testnet.neighbourhood import KEYS_NAME
from tests.functional.trading import FIRST_SLOT, PRICE, SLOT_SECONDS, SLOTS, device
from tests.security.liar import Liar, Lie, honest, lie_in, lying, mutations

T = TypeVar("T")

NAMED: Final = {"lying-node", "truncating-node", "stale-node", "other-chain", "forked-chain"}
HOME: Final = "home-3"
LOAD: Final = f"{HOME}/load"
MARGIN: Final = 100_000
"""Between two orders that are to meet there is room for tolls."""
Question = tuple[str, str, dict[str, Any]]


def questions(order: bytes, slot: int, period: int) -> tuple[Question, ...]:
    """What a wallet asks for its balances, orders, trades, alerts, requests and statements; and where there is none."""
    slots = {"first_slot": slot - 1, "end_slot": slot + 1}
    return (
        ("identity", "devices", {"network": HOME}),
        ("budget", "budget", {"device": LOAD, "period": period}),
        ("market", "orders", {"device": LOAD, "slot": slot}),
        ("market", "order", {"order": order}),
        ("market", "device_trades", {"device": LOAD, "slot": slot}),
        ("market", "device_trades", {"device": LOAD, "slot": slot + 1}),
        ("budget", "alerts", {"network": HOME}),
        ("requests", "of_network", {"network": HOME}),
        ("statements", "period", {"network": HOME, "period": period}),
        ("statements", "slots", {"network": HOME, **slots}),
        ("statements", "contracts", {"device": LOAD, **slots}),
    )


class Wallet:
    """What a wallet has: the genesis document, what it has seen, and a key to read with."""

    def __init__(self, cluster: Cluster) -> None:
        directory = cluster.network.directory
        self.document = directory / GENESIS_NAME
        self.genesis: Genesis = load_genesis(self.document)
        self.keys = directory / KEYS_NAME
        passphrase = (self.keys / PASSPHRASE_NAME).read_text().strip()
        self.key: SigningKey = load_key(self.keys / f"{HOME}.json", passphrase)

    def reader(self, client: Client, light: LightChain | None = None) -> ProvenReader:
        known = KnownEpochs(client, self.genesis, light or LightChain(self.document.read_bytes()))
        return ProvenReader(client, self.genesis, REGISTRY, known=known)


REGISTRY = default_registry()


@pytest.fixture(scope="module")
def wallet(network: Cluster) -> Wallet:
    return Wallet(network)


def with_liar(cluster: Cluster, wallet: Wallet, use: Callable[[Liar, Client], Awaitable[T]]) -> T:
    """What ``use`` gives, with a client of the liar alone."""

    async def run() -> T:
        async with lying(cluster.network.gateways[0]) as (liar, address), Client(address, wallet.key) as client:
            return await use(liar, client)

    return asyncio.run(run())


async def outcome(read: ProvenReader, question: Question) -> Any:
    """The answer, or the code of the refusal."""
    try:
        return await read(*question)
    except RefusedError as error:
        return error.code


async def placed(cluster: Cluster, name: str, side: str, slot: int) -> bytes:
    """The id of an order for a little energy, as good for the other side as can be."""
    who = device(cluster, name)
    async with Client(cluster.network.gateways[1], who.key) as client:
        price = PRICE + (MARGIN if side == "buy" else -MARGIN)
        order = {"slot": slot, "side": side, "energy_wh": 100, "price": price, "until": "gate", "renewable": False}
        raw = await who.sign(client, "market", "place", {"device": name, **order})
        status = await client.wait(await client.submit(raw))
        assert status.code == "ok" and isinstance(status.result, bytes), status
        return status.result


async def traded(cluster: Cluster, wallet: Wallet) -> tuple[Question, ...]:
    """Let the home buy something of its neighbour, so that there is something to lie about; what it then asks."""
    async with Client(cluster.network.gateways[1], wallet.key) as client:
        slot = (await client.node_info()).now // SLOT_SECONDS + FIRST_SLOT + SLOTS
        _, order = await placed(cluster, "home-1/pv", "sell", slot), await placed(cluster, LOAD, "buy", slot)
        async with asyncio.timeout(30):
            while not await client.query("market", "device_trades", {"device": LOAD, "slot": slot}):
                await asyncio.sleep(0.2)
        return questions(order, slot, await period_of(client.query, slot))


async def period_of(read: Callable[[str, str, dict[str, Any]], Awaitable[Value]], slot: int) -> int:
    found: Any = await read("budget", "period", {"network": HOME, "slot": slot})
    return int(found[0])


def test_no_changed_field_of_any_reply_is_believed(network: Cluster, wallet: Wallet) -> None:
    """A wallet's questions, each answered with one field changed: the truth, or a refusal that names what it is."""
    asked = asyncio.run(traded(network, wallet))

    async def truly(liar: Liar, client: Client, question: Question) -> Any:
        liar.lie = honest
        found = await outcome(wallet.reader(client), question)
        assert found not in NAMED
        return found

    async def use(liar: Liar, client: Client) -> dict[str, int]:
        counts = {"the truth": 0}
        light = LightChain(wallet.document.read_bytes())
        for question in asked:
            liar.seen = []
            truth = await truly(liar, client, question)
            for call, reply in dict(liar.seen).items():
                for name, change in list(mutations(reply)):
                    liar.lie = lie_in(call, change)
                    found = await outcome(wallet.reader(client, light), question)
                    if found != truth and found not in NAMED | WITHHELD:
                        truth = await truly(liar, client, question)  # a slot may have begun meanwhile
                    assert found == truth or found in NAMED | WITHHELD, (question, call, name, found)
                    key = "the truth" if found == truth else found
                    counts[key] = counts.get(key, 0) + 1
        return counts

    counts = with_liar(network, wallet, use)
    assert counts["lying-node"] > 300 and counts["truncating-node"] >= len(asked), counts
    assert counts["the truth"] < sum(counts.values()) // 3, "what is not looked at: the answer that the node claims"


WITHHELD: Final = {"no-block"}
"""A node may say that it has nothing yet: it shows no certificate."""


def test_a_head_that_is_made_up_is_no_head(network: Cluster, wallet: Wallet) -> None:
    """What `watt wallet init` asks for, with every field changed: a block of the chain, or nothing."""

    async def use(liar: Liar, client: Client) -> None:
        async with Client(network.network.gateways[0]) as direct:
            assert await wallet.reader(client).head() is not None
            replies = dict(liar.seen)
            for call, reply in replies.items():
                for name, change in list(mutations(reply)):
                    liar.lie = lie_in(call, change)
                    try:
                        found = await wallet.reader(client).head()
                    except RefusedError as error:
                        assert error.code in NAMED or call == "NodeInfo", (call, name, error)
                        continue
                    assert found is None or found.hash == (await real(direct, found.height)), (call, name)

    with_liar(network, wallet, use)


async def real(client: Client, height: int) -> bytes:
    return decode_header((await client.block(height)).header).hash


def test_a_refusal_that_nothing_proves_is_a_lie(network: Cluster, wallet: Wallet) -> None:
    async def use(liar: Liar, client: Client) -> Any:
        liar.lie = lambda name, reply: None if name == "Query" else reply
        return await outcome(wallet.reader(client), ("identity", "devices", {"network": HOME}))

    assert with_liar(network, wallet, use) == "lying-node"


def watt(wallet: Wallet, *words: str, key: str = HOME, env: dict[str, str] | None = None) -> Result:
    signing = ["--key", str(wallet.keys / f"{key}.json"), "--passphrase-file", str(wallet.keys / PASSPHRASE_NAME)]
    return CliRunner().invoke(main, [*words, *signing], env=env)


def asked(wallet: Wallet, home: Path, *nodes: str) -> Result:
    """`watt wallet balance` of the home's network by a wallet with this home."""
    where = [word for node in nodes for word in ("--node", node)]
    return watt(wallet, "wallet", "balance", HOME, "--json", "--wallet", str(home), *where)


async def in_thread(result: Callable[[], Result]) -> Result:
    """A command runs a loop of its own."""
    return await asyncio.to_thread(result)


def test_a_liar_is_named_and_the_next_node_answers(network: Cluster, wallet: Wallet, tmp_path: Path) -> None:
    """Stale, truncating and lying nodes at the command line, with an honest one behind them in the list or alone."""
    home, honest_node = tmp_path / "wallet", network.network.gateways[1]
    made = watt(
        wallet, "wallet", "init", "--genesis", str(wallet.document), "--wallet", str(home), "--node", honest_node
    )
    assert made.exit_code == 0, made.output
    seen = json.loads(CliRunner().invoke(main, ["wallet", "trust", "--wallet", str(home), "--json"]).stdout)
    assert seen["block"] > 0 and seen["members"] == [member.name for member in wallet.genesis.members]

    async def use() -> None:
        async with lying(network.network.gateways[0]) as (liar, address):
            old: dict[int, bytes] = {}

            def recorded(name: str, reply: Message) -> Message:
                if name == "Query":
                    old[len(old)] = reply.SerializeToString()
                return reply

            liar.lie = recorded
            first = await in_thread(lambda: asked(wallet, home, address))
            assert first.exit_code == 0, first.output
            issued = ["admin", "issue", HOME, "1", "--reference", f"stale {seen['block']}", "--node", honest_node]
            done = await in_thread(lambda: watt(wallet, *issued, key="utility"))
            assert done.exit_code == 0, done.output
            newer = await in_thread(lambda: asked(wallet, home, honest_node))
            assert newer.exit_code == 0 and json.loads(newer.stdout)["network"] != json.loads(first.stdout)["network"]

            async def named(code: str) -> None:
                """The liar alone is refused; with an honest node behind it, it is named, and the answer is there."""
                alone = await in_thread(lambda: asked(wallet, home, address))
                assert alone.exit_code == 1 and alone.stderr.startswith(f"watt: {code}: {address}"), alone.output
                both = await in_thread(lambda: asked(wallet, home, address, honest_node))
                assert both.exit_code == 0, both.output
                assert json.loads(both.stdout)["network"] == json.loads(newer.stdout)["network"]
                assert f"watt: {code}: {address}, which says it is node-0: " in both.stderr, both.stderr

            turn = iter(range(10**6))

            def replayed(name: str, reply: Message) -> Message:
                return pb.QueryReply.FromString(old[next(turn) % len(old)]) if name == "Query" else reply

            liar.lie = replayed
            await named("stale-node")
            liar.lie = lie_in("Query", lambda reply: reply.reads.pop())  # type: ignore[attr-defined]
            await named("truncating-node")
            liar.lie = lie_in("Query", lambda reply: setattr(reply.reads[0], "value", b"\x2a"))  # type: ignore[attr-defined]
            await named("lying-node")
            liar.lie = honest

    asyncio.run(use())


def test_nothing_is_signed_on_a_liars_word(network: Cluster, wallet: Wallet, tmp_path: Path) -> None:
    """With a wallet's home: another chain's id, another token, another clock and other slots are not what is signed."""
    home, node = tmp_path / "wallet", network.network.gateways[1]
    made = watt(wallet, "wallet", "init", "--genesis", str(wallet.document), "--wallet", str(home), "--node", node)
    assert made.exit_code == 0, made.output

    def shared(address: str) -> Result:
        words = ["wallet", "share", f"{HOME}/load", f"{HOME}/ev", "0.001", "--node", address]
        return watt(wallet, *words, env={"WATT_WALLET": str(home)})

    def claimed(**fields: Any) -> Lie:
        def lie(name: str, reply: Message) -> Message:
            if name == "NodeInfo":
                for field, value in fields.items():
                    setattr(reply, field, value)
            return reply

        return lie

    async def use() -> None:
        async with lying(network.network.gateways[0]) as (liar, address):
            liar.lie = claimed(chain=b"x" * 32)
            refused = await in_thread(lambda: shared(address))
            assert refused.exit_code == 1 and refused.stderr.startswith("watt: other-chain: "), refused.output
            assert "Submit" not in [name for name, _ in liar.seen]
            liar.lie = lie_in("Query", lambda reply: setattr(reply.reads[0], "value", b"\x91\x01"))  # type: ignore[attr-defined]
            refused = await in_thread(lambda: shared(address))
            assert refused.exit_code == 1 and refused.stderr.startswith("watt: lying-node: "), refused.output
            assert "Submit" not in [name for name, _ in liar.seen]
            liar.lie = claimed(token_decimals=15, now=2**40)
            done = await in_thread(lambda: shared(address))
            assert done.exit_code == 0, done.output
        async with Client(node, wallet.key) as client:
            read = wallet.reader(client)
            slot = (await client.node_info()).now // SLOT_SECONDS
            args = {"network": HOME, "period": await period_of(read, slot)}
            rows: Any = await read("budget", "shares", args)
            assert rows[-1][2] == 10 ** (wallet.genesis.token.decimals - 3), "a thousandth, by the genesis document"

    asyncio.run(use())


def test_without_a_home_nothing_is_asked(network: Cluster, wallet: Wallet, tmp_path: Path) -> None:
    node = network.network.gateways[0]
    refused = asked(wallet, tmp_path / "nothing", node)
    assert refused.exit_code == 1 and refused.stderr.startswith("watt: no-wallet: "), refused.output
    assert "watt wallet init --genesis" in refused.stderr and "--trust-node" in refused.stderr
    believed = watt(wallet, "wallet", "balance", HOME, "--json", "--trust-node", "--node", node)
    assert believed.exit_code == 0 and "proven" not in json.loads(believed.stdout), believed.output
