"""A wallet's home: what is in it, who may read it, and what becomes of a damaged one."""

import json
from pathlib import Path

import msgpack
import msgspec
import pytest
from click.testing import CliRunner, Result

from cli.main import main
from cli.wallet_home import CA, GENESIS, NODES, TRUST, Home, oldest_accepted
from node.errors import RefusedError
from node.light import LightChain
from node.model.genesis import parse_genesis
from tests.vectors.make import HERE

CHAIN = json.loads((HERE / "chain.json").read_text())
DOCUMENT: bytes = CHAIN["genesis"].encode()
BOUNDARIES = [bytes.fromhex(each) for each in CHAIN["boundaries"]]
BLOCKS = {
    case["name"]: (bytes.fromhex(case["header"]), bytes.fromhex(case["certificate"]))
    for case in json.loads((HERE / "headers.json").read_text())
    if case["expect"] == "ok"
}
NODE = "127.0.0.1:7401"


def knowing(epochs: int, block: str | None = None) -> LightChain:
    light = LightChain(DOCUMENT)
    for boundary in BOUNDARIES[: epochs - 1]:
        light.add_epoch(boundary)
    if block is not None:
        light.accept(*BLOCKS[block])
    return light


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """One that has seen all of the chain."""
    home = Home(tmp_path / "wallet")
    home.create(DOCUMENT, b"a CA", (NODE, "[::1]:7402"), knowing(4, f"block {CHAIN['head']['height']}"))
    return home


def trust(home: Home, *words: str) -> Result:
    return CliRunner().invoke(main, ["wallet", "trust", "--wallet", str(home.path), *words])


def test_a_home_keeps_what_was_proven_for_its_owner_alone(home: Home) -> None:
    assert home.path.stat().st_mode & 0o777 == 0o700
    assert {path.name: path.stat().st_mode & 0o777 for path in home.path.iterdir()} == dict.fromkeys(
        (GENESIS, CA, NODES, TRUST), 0o600
    )
    light = home.light()
    assert light.newest is not None and light.newest.height == CHAIN["head"]["height"] and len(light.epochs) == 4
    assert home.nodes() == (NODE, "[::1]:7402")
    shown = json.loads(trust(home, "--json").stdout)
    assert (shown["chain"], shown["block"], shown["epoch"]) == (CHAIN["chain"], CHAIN["head"]["height"], 3)
    assert shown["members"] == CHAIN["epochs"][-1]["members"]
    assert "nothing older is believed" in trust(home).stdout


def test_a_home_never_forgets_what_another_program_has_seen(home: Home) -> None:
    before = (home.path / TRUST).read_bytes()
    home.save(knowing(1, "block 1"))
    assert (home.path / TRUST).read_bytes() == before
    (home.path / TRUST).write_bytes(b"damaged")
    home.save(knowing(1, "block 1"))
    newest = home.light().newest
    assert newest is not None and newest.height == 1


@pytest.mark.parametrize("name", [GENESIS, TRUST, NODES])
def test_a_damaged_file_is_named(home: Home, name: str) -> None:
    """Every file cut short at several places, empty, and with a bit changed: a code, and never another belief."""
    path = home.path / name
    good = path.read_bytes()
    true = home.light()
    broken = [b"", good[:1], good[: len(good) // 2], good[:-2], b"\xff" + good[1:], good + b"\xff"]
    broken += [good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :] for place in range(0, len(good), 97)]
    for data in broken:
        path.write_bytes(data)
        result = trust(home)
        if result.exit_code == 0:
            assert name == NODES or _same(home.light(), true), "another vote of the same block, at most"
        else:
            assert result.stderr.startswith("watt: bad-wallet: ") and result.exit_code == 1, result.output
            assert str(path) in result.stderr or name == GENESIS, "another genesis makes the trust file another chain's"
    path.write_bytes(good)
    assert trust(home).exit_code == 0


def _same(one: LightChain, other: LightChain) -> bool:
    return (one.chain, one.epochs, one.newest) == (other.chain, other.epochs, other.newest)


def test_a_trust_file_of_another_form_or_chain(home: Home) -> None:
    parts = msgpack.unpackb((home.path / TRUST).read_bytes())
    for other in (
        [b"x" * 32, *parts[1:]],
        [parts[0], [7], *parts[2:]],
        [parts[0], parts[1][1:], *parts[2:]],
        [parts[0], 7, b"", b""],
        [parts[0], [], parts[2], parts[3]],
        {"a": 1},
    ):
        (home.path / TRUST).write_bytes(msgpack.packb(other))
        with pytest.raises(RefusedError, match="bad-wallet"):
            home.light()


def test_a_home_that_others_may_write_is_refused(home: Home) -> None:
    for path in (home.path, home.path / GENESIS):
        mode = path.stat().st_mode
        path.chmod(0o777)
        refused = trust(home)
        assert refused.exit_code == 1 and "others may write" in refused.stderr and "chmod go-w" in refused.stderr
        path.chmod(mode)
    assert trust(home).exit_code == 0


def test_a_home_of_another_network_is_not_overwritten(home: Home) -> None:
    other = msgspec.json.encode(msgspec.json.decode(DOCUMENT) | {"name": "other"})
    with pytest.raises(RefusedError, match="wallet-exists"):
        home.create(other, None, (NODE,), LightChain(other))
    assert home.genesis().name == "epochs"


def test_what_cannot_be_written_leaves_what_was_there(home: Home, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no directory")
    with pytest.raises(RefusedError, match="cannot-write"):
        Home(tmp_path / "file" / "wallet").create(DOCUMENT, None, (NODE,), knowing(1))
    (home.path / TRUST).unlink()
    (home.path / TRUST).mkdir()
    with pytest.raises(RefusedError, match="bad-wallet"):
        home.save(knowing(4, f"block {CHAIN['head']['height']}"))
    assert [path.name for path in home.path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize(
    "words",
    [
        ["balance", "home-1"],
        ["orders", "home-1/ev"],
        ["orders", "--order", "00" * 32],
        ["trades", "home-1/ev", "--slot", "7"],
        ["alerts", "home-1"],
        ["alerts", "home-1", "--explain", "1"],
        ["statement", "home-1"],
        ["share", "--list", "home-1"],
        ["requests", "home-1"],
        ["trust"],
    ],
)
def test_no_read_believes_a_node_unasked(words: list[str], tmp_path: Path) -> None:
    """Without a home no node is even spoken to: nothing listens at this address."""
    where = ["--wallet", str(tmp_path / "nothing")] + ([] if words == ["trust"] else ["--node", "127.0.0.1:9"])
    refused = CliRunner().invoke(main, ["wallet", *words, *where])
    assert refused.exit_code == 1 and refused.stderr.startswith("watt: no-wallet: "), refused.output
    assert "watt wallet init" in refused.stderr


def test_the_age_limit_is_two_slots_and_a_minute_of_the_clock() -> None:
    genesis = parse_genesis(DOCUMENT, "")
    assert oldest_accepted(genesis, 0) is None, "without a market nothing makes blocks"
    market = msgspec.structs.replace(genesis, contracts={"market": {"slot_seconds": 900}}, time_scale=60)
    clock_ms = 1_000_000
    assert oldest_accepted(market, clock_ms) == market.block_time(clock_ms) - 1_800 - 3_600
