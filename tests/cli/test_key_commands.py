"""Commands about keys: what is wrong usage, what votes say of keys, and that a code is never shown unasked."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from chaincode.motions import ADMIN_KEY, MEMBER_KEY
from cli.main import main
from cli.motions import lines_of
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


def test_votes_on_keys_say_whose_and_which() -> None:
    member = {"kind": MEMBER_KEY, "subject": ("utility", bytes([7] * 32))}
    assert lines_of(member, 9) == ["member-key utility", f"  public key: {'07' * 32}"]
    admin = {"kind": ADMIN_KEY, "subject": (bytes([8] * 32), bytes([7] * 32))}
    assert lines_of(admin, 9)[1:] == [f"  in the place of: {'08' * 32}", f"  public key: {'07' * 32}"]
