"""A node's configuration and its first files."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from cli.node import node as node_group
from node.config import Config, dump_config, is_loopback, load_config, split_address
from node.errors import ConfigError
from node.keyfile import TESTNET, load_key, save_key
from node.model.genesis import dump_genesis, load_genesis, parse_genesis
from node.model.keys import generate_key
from node.setup import KEY_NAME, NodeFiles, check_membership, init_node, open_identity
from testnet.genesis import GENESIS_NAME, Network, build_network, load_network

GOOD = """
member = "node-0"
genesis = "genesis.json"
data_dir = "data"
key_file = "node.key.json"
tls_key_file = "tls.key.json"
tls_certificate = "tls.crt"
[peer]
listen = "127.0.0.1:7501"
[peer.addresses]
node-1 = "[::1]:7502"
[gateway]
listen = "localhost:7401"
"""


def code_of(use: Callable[[], object]) -> tuple[str, str]:
    with pytest.raises(ConfigError) as caught:
        use()
    return caught.value.code, caught.value.message


def test_a_written_configuration_reads_back_the_same(tmp_path: Path) -> None:
    path = tmp_path / "node.toml"
    path.write_text(GOOD)
    config = load_config(path)
    assert config.path(config.data_dir) == tmp_path / "data"
    assert config.limits.verify_workers == 1
    path.write_text(dump_config(config, "two\nlines"))
    assert load_config(path) == config
    path.write_text(GOOD + '[metrics]\nlisten = "127.0.0.1:9100"\n')
    config = load_config(path)
    assert config.metrics.listen == "127.0.0.1:9100"
    path.write_text(dump_config(config, "with metrics"))
    assert load_config(path) == config


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('member = "node-0"', 'member = ""', "member"),
        ('member = "node-0"', "", "member"),
        ('member = "node-0"', 'member = "node-0"\nsurprise = 1', "surprise"),
        ('member = "node-0"', 'member = "node-0"\ndirectory = "/"', "directory"),
        ("[gateway]", '[gateway]\nsurprise = "x"', "surprise"),
        ("[gateway]", '[metrics]\nlisten = "nowhere"\n[gateway]', "metrics.listen"),
        ("[gateway]", '[metrics]\nlisten = "localhost:7401"\n[gateway]', "metrics.listen"),
        ('listen = "127.0.0.1:7501"', "listen = 7501", "listen"),
        ('listen = "127.0.0.1:7501"', 'listen = "127.0.0.1"', "peer.listen"),
        ('listen = "127.0.0.1:7501"', 'listen = "127.0.0.1:0"', "peer.listen"),
        ('listen = "127.0.0.1:7501"', 'listen = "127.0.0.1:70000"', "peer.listen"),
        ('listen = "127.0.0.1:7501"', 'listen = "localhost:7401"', "same address"),
        ('"[::1]:7502"', '"nowhere"', "peer.addresses.node-1"),
        ('listen = "localhost:7401"\n', 'listen = "localhost:7401"\n[limits]\nverify_workers = 0\n', "verify_workers"),
        ('listen = "localhost:7401"\n', 'listen = "localhost:7401"\n[limits]\nmempool_transactions = 0\n', "mempool"),
        ("[peer]", "[peer", "node.toml"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, old: str, new: str, named: str) -> None:
    path = tmp_path / "node.toml"
    assert old in GOOD
    path.write_text(GOOD.replace(old, new))
    code, message = code_of(lambda: load_config(path))
    assert code == "bad-config" and named in message and "\n" not in message


def test_no_file_and_no_text(tmp_path: Path) -> None:
    assert code_of(lambda: load_config(tmp_path / "node.toml"))[0] == "no-config"
    path = tmp_path / "node.toml"
    path.write_bytes(b"\xff\xfe\x00")
    assert code_of(lambda: load_config(path)) == ("bad-config", f"{path}: not UTF-8 text")


def test_addresses() -> None:
    assert split_address("[::1]:80") == ("::1", 80)
    assert is_loopback("127.0.0.1:1") and is_loopback("[::1]:1") and is_loopback("localhost:1")
    assert not is_loopback("0.0.0.0:1") and not is_loopback("example.org:1")


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Network:
    return build_network(tmp_path_factory.mktemp("net"), {}, base_port=17400)


def opened_as_member(config: Config, phrase: str) -> None:
    identity = open_identity(config, phrase)
    check_membership(config, identity, (identity.genesis.epoch,), 1)


def passphrase(network: Network, index: int) -> str:
    return (network.nodes[index].directory / "passphrase").read_text().strip()


def test_a_network_on_disk_opens_for_every_member(network: Network) -> None:
    assert network.gateways == [f"127.0.0.1:{port}" for port in (17401, 17402, 17403, 17404)]
    for node in network.nodes:
        identity = open_identity(node.config, passphrase(network, node.index))
        assert identity.keys.main.public_key == network.genesis.member_keys[node.index]
        check_membership(node.config, identity, (network.genesis.epoch,), 1)
    assert code_of(lambda: build_network(network.directory, {}))[0] == "testnet-exists"
    assert code_of(lambda: load_network(network.directory / "nothing"))[0] == "no-testnet"


def test_another_members_files_are_refused(network: Network, tmp_path: Path) -> None:
    mine, other = network.nodes[0], network.nodes[1]

    def opened(old: str, new: str, phrase: str) -> tuple[str, str]:
        path = mine.directory / "spoiled.toml"
        text = mine.config_path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
        return code_of(lambda: opened_as_member(load_config(path), phrase))

    mine_phrase = passphrase(network, 0)
    save_key(mine.directory / "stray.json", generate_key(), mine_phrase, TESTNET)
    assert opened(f'key_file = "{KEY_NAME}"', 'key_file = "stray.json"', mine_phrase)[0] == "wrong-key-file"
    certificate = 'tls_certificate = "tls.crt"'
    theirs = f'tls_certificate = "../{other.name}/tls.crt"'
    assert opened(certificate, theirs, mine_phrase)[0] == "wrong-certificate"
    code, message = opened('member = "node-0"', 'member = "stranger"', mine_phrase)
    assert code == "not-a-member" and "node-0" in message
    code, message = opened('"node-3" = ', '"node-9" = ', mine_phrase)
    assert code == "bad-config" and "node-3, node-9" in message


def test_init_makes_what_a_genesis_needs(tmp_path: Path) -> None:
    files = NodeFiles(tmp_path / "node", "utility", "genesis.json", "10.0.0.1:7501", "127.0.0.1:7401", {})
    member = init_node(files, "secret", TESTNET)
    assert member.public_key == load_key(tmp_path / "node" / KEY_NAME, "secret").public_key.hex()
    assert member.tls_certificate.startswith("-----BEGIN CERTIFICATE-----")
    assert code_of(lambda: init_node(files, "secret", TESTNET))[0] == "key-exists"


BAD_NAMES = ["", "-a", ".", "..", "a/b", "../x", "A", "a b", "a\n", "ä", "x" * 49]


@pytest.mark.parametrize("changes", [*({"member": name} for name in BAD_NAMES), {"genesis": ""},
                                     {"peer_listen": "7501"}, {"gateway_listen": "10.0.0.1:7501"}])  # fmt: skip
def test_nothing_is_written_of_a_node_that_could_not_run(tmp_path: Path, changes: dict[str, str]) -> None:
    files = NodeFiles(tmp_path / "node", "utility", "genesis.json", "10.0.0.1:7501", "127.0.0.1:7401", {})
    assert code_of(lambda: init_node(replace(files, **changes), "secret", TESTNET))[0] == "bad-config"  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", BAD_NAMES)
def test_genesis_takes_the_same_names(network: Network, name: str) -> None:
    members = (msgspec.structs.replace(network.genesis.members[0], name=name), *network.genesis.members[1:])
    document = dump_genesis(msgspec.structs.replace(network.genesis, members=members))
    code, message = code_of(lambda: parse_genesis(document, "it"))
    assert code == "bad-genesis" and "member's name" in message


def test_members_have_distinct_names(network: Network) -> None:
    first, second, *rest = network.genesis.members
    members = (first, msgspec.structs.replace(second, name=first.name), *rest)
    document = dump_genesis(msgspec.structs.replace(network.genesis, members=members))
    assert code_of(lambda: parse_genesis(document, "it")) == ("bad-genesis", "it: members' names are distinct")
    assert code_of(lambda: parse_genesis(b'{"name": "\xff"}', "it")) == ("bad-genesis", "it: not UTF-8 text")


def test_what_is_there_is_left_and_nothing_is_added(tmp_path: Path) -> None:
    (tmp_path / "node.toml").write_text("mine")
    files = NodeFiles(tmp_path, "utility", "genesis.json", "10.0.0.1:7501", "127.0.0.1:7401", {})
    assert code_of(lambda: init_node(files, "secret", TESTNET))[0] == "key-exists"
    assert [path.name for path in tmp_path.iterdir()] == ["node.toml"]
    below = replace(files, directory=tmp_path / "node.toml" / "below")
    assert code_of(lambda: init_node(below, "secret", TESTNET))[0] == "cannot-write"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(node_group, arguments, env={"WATT_PASSPHRASE": "secret"})


def test_the_command_makes_a_node_once(tmp_path: Path) -> None:
    first = run("init", "--dir", str(tmp_path / "a"), "--member", "utility", "--json")
    assert first.exit_code == 0 and '"public_key"' in first.stdout
    again = run("init", "--dir", str(tmp_path / "a"), "--member", "utility")
    assert again.exit_code == 1 and again.stderr.startswith("watt: key-exists: ")
    assert "Traceback" not in again.output


def test_no_passphrase_and_nobody_to_ask(tmp_path: Path) -> None:
    done = CliRunner().invoke(
        node_group, ["init", "--dir", str(tmp_path / "a"), "--member", "x"], env={"WATT_PASSPHRASE": None}
    )
    assert (done.exit_code, done.stderr.split(": ")[1]) == (1, "no-passphrase")


def test_the_command_refuses_in_one_line(network: Network, tmp_path: Path) -> None:
    assert run("status", "--node", "127.0.0.1:1").exit_code == 3
    assert run("verify").exit_code == 2
    done = run("verify", "--data", str(tmp_path), "--genesis", str(network.directory / GENESIS_NAME))
    assert (done.exit_code, done.stderr.splitlines()[0].split(": ")[1]) == (1, "db-missing")
    assert load_genesis(network.directory / GENESIS_NAME).name == "testnet"
