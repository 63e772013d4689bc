"""What alerts, givers and their proofs are called."""

import pytest

from cli.alert_words import cause_of, giver_name, proof_line, why_words
from node.errors import RefusedError

TOKEN = ("kT", 3)


@pytest.mark.parametrize(
    ("cause", "figures", "words"),
    [
        ("ahead", (401, 1000, 3, 10, 100), "used 0.401 kT of 1.000 kT when 30 % of the period was over"),
        ("ahead", (401, 1000, 10, 24, 100), "used 0.401 kT of 1.000 kT when 42 % of the period was over"),
        ("borrowed", (20,), "others paid for it: 0.020 kT at first"),
        ("borrowed-often", (3,), "others paid for it 3 times"),
        ("above-forecast", (4, 900, 48), "4 slots in a row above its forecast of 0.900 kT"),
        ("estimated", (70, 1500), "no reading: a slot estimated at 1.500 kWh, 0.070 kT"),
        ("of-another-version", (), "of-another-version"),
    ],
)
def test_causes(cause: str, figures: tuple[int, ...], words: str) -> None:
    assert cause_of({"cause": cause, "figures": figures}, *TOKEN) == words


@pytest.mark.parametrize("figures", [(), (1, 2), ("x",), None])
def test_figures_of_another_shape_are_refused(figures: object) -> None:
    with pytest.raises(RefusedError, match="bad-answer"):
        cause_of({"cause": "borrowed", "figures": figures}, *TOKEN)


def test_proofs_lead_to_a_block_and_a_transaction() -> None:
    proof = {"kind": "slot", "number": 2, "height": 7, "reference": bytes(range(32)), "amount": 5}
    assert proof_line(proof, 1800) == "reading of slot 2 (1970-01-01 01:00 UTC): block 7, 000102030405"
    assert proof_line({**proof, "kind": "estimate"}, 1800).startswith("estimate of ")
    assert proof_line({**proof, "kind": "share"}, 1800) == "share 2: block 7, 000102030405"
    for what, words in ((b"settle ", "settlement"), (b"correct ", "correction")):
        served = {**proof, "kind": "share", "reference": what + (3).to_bytes(8, "big")}
        assert proof_line(served, 1800) == f"share 2: block 7, {words} of slot 3 (1970-01-01 01:30 UTC)"


def test_givers_and_reasons() -> None:
    assert [giver_name(giver) for giver in ("", "*", "@shop-2/hvac", "shop-1/fan")] == [
        "the pool", "several others", "network shop-2/hvac", "shop-1/fan",
    ]  # fmt: skip
    assert why_words("order") == "for an order" and why_words("new") == "new"
