"""Commands about keys: what is wrong usage, what votes say of keys, and that a code is never shown unasked."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from chaincode.motions import ADMIN_KEY, MEMBER_KEY
from cli.main import main
from cli.motions import lines_of
from cli.units import PROVEN_KEY
from node.enrolment import require_possession
from node.errors import RefusedError
from node.keyfile import TESTNET, save_key
from node.model.keys import generate_key

KEY = "ab" * 32


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["admin", "lost-key", "--public-key", KEY], "say NAME, or --admin"),
        (["admin", "lost-key", "utility", "--admin", KEY, "--public-key", KEY], "say NAME, or --admin"),
        (["wallet", "rotate-key", "--new-key", "new"], "an admin of the genesis has none"),
        (["wallet", "rotate-key", "x", "--kind", "admin", "--new-key", "new"], "an admin of the genesis has none"),
        (["wallet", "reset-key", "home-1/ev", "--json"], "the code is a secret"),
        (["wallet", "reset-key", "home-1/ev", "--hours", "721"], "is not in the range"),
        (["wallet", "reset-key", "home-1/ev", "--kind", "house"], "is not one of"),
    ],
)
def test_wrong_usage(words: list[str], said: str) -> None:
    result = CliRunner().invoke(main, [*words, "--key", "nowhere"])
    assert result.exit_code == 2 and said in result.stderr, result.output


def test_a_code_for_gateways_that_are_none_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    save_key(tmp_path / "key", generate_key(), "x", TESTNET)
    words = ["wallet", "reset-key", "home-1/ev", "--gateway", "here", "--key", str(tmp_path / "key")]
    result = CliRunner().invoke(main, words, env={"WATT_PASSPHRASE": "x"})
    assert result.exit_code == 1 and result.stderr.startswith("watt: bad-address: ")


@pytest.mark.parametrize("text", ["", "WATT1", "nonsense", "WATT1" + "A" * 5000])
def test_what_is_no_code_makes_no_key(tmp_path: Path, text: str) -> None:
    out = tmp_path / "device.key"
    result = CliRunner().invoke(main, ["wallet", "enrol", "--out", str(out)], input=text)
    assert result.exit_code == 1 and result.stderr.startswith("watt: bad-code: ") and not out.exists()
    (tmp_path / "code").write_bytes(text.encode() + bytes([255, 0]))
    from_file = CliRunner().invoke(main, ["wallet", "enrol", "--out", str(out), "--code-file", str(tmp_path / "code")])
    assert from_file.exit_code == 1 and from_file.stderr.startswith("watt: bad-code: ")


def test_a_key_gives_its_word_with_no_node_at_hand(tmp_path: Path) -> None:
    """The device comes before its network: whoever registers it has said its key and the chain's id."""
    key = generate_key()
    save_key(tmp_path / "key", key, "x", TESTNET)
    words = ["keys", "prove", "home-1/ev", "--kind", "meter", "--by", KEY, "--chain", "cd" * 32]
    result = CliRunner().invoke(main, [*words, "--key", str(tmp_path / "key")], env={"WATT_PASSPHRASE": "x"})
    assert result.exit_code == 0, result.output
    public_key, proof = PROVEN_KEY.convert(result.stdout, None, None)
    assert public_key == key.public_key
    require_possession(bytes([0xCD] * 32), "meter", "home-1/ev", bytes([0xAB] * 32), public_key, proof)
    with pytest.raises(RefusedError, match="has not signed that it is to act for device home-1/ev"):
        require_possession(bytes([0xCD] * 32), "device", "home-1/ev", bytes([0xAB] * 32), public_key, proof)


@pytest.mark.parametrize(
    "given", [KEY, f"{KEY}:", f"{KEY}:{KEY}", f"{KEY}:{'cd' * 65}", f"{KEY}:{'x' * 128}", "key.json"]
)
def test_a_key_without_its_word_is_wrong_usage(given: str) -> None:
    words = [
        "admin",
        "network",
        "add",
        "home-9",
        "--member",
        "m",
        "--bus",
        "b",
        "--key",
        "nowhere",
        "--owner-key",
        given,
    ]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 2 and "watt keys prove" in result.stderr, result.output


def test_votes_on_keys_say_whose_and_which() -> None:
    member = {"kind": MEMBER_KEY, "subject": ("utility", bytes([7] * 32))}
    assert lines_of(member, 9) == ["member-key utility", f"  public key: {'07' * 32}"]
    admin = {"kind": ADMIN_KEY, "subject": (bytes([8] * 32), bytes([7] * 32))}
    assert lines_of(admin, 9)[1:] == [f"  in the place of: {'08' * 32}", f"  public key: {'07' * 32}"]
