"""Policies as files: everything that is wrong is told at once, with its line and column and what was meant."""

import time
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaincode.budget_contradictions import FAULTS, faults_of
from chaincode.budget_policy import Donor, Policy, Row
from chaincode.contract import MAX_AMOUNT
from cli.policy_check import Change, changes
from cli.policy_file import MAX_FILE_BYTES, format_policy, parse_policy, read_policy
from cli.toml_places import places_of

TOKEN = 10**9
SHOP = """\
network = "shop-1/hvac"
pool_helps = true
pool_floor = 5
carry_cap = 20.5
carry_periods = 2
excess = "sell"
agreement = 3
allocation = "fixed"

[devices."shop-1/hvac-roof"]
rank = 1
floor = 2.5
limit = 40
amount = 20

[devices]
"shop-1/hvac-door" = { gives = false, share_permille = 250 }
"""


def told(text: str) -> list[str]:
    """What is wrong with a text, each as line:column: code."""
    return [f"{problem.line}:{problem.column}: {problem.code}" for problem in parse_policy(text, "f", 9)[1]]


def test_what_a_file_says() -> None:
    found, problems = parse_policy(SHOP, "shop.toml", 9)
    assert problems == [] and found is not None
    assert found.network == "shop-1/hvac"
    assert found.policy == Policy(
        pool_helps=True, pool_floor=5 * TOKEN, carry_cap=20_500_000_000, carry_periods=2, excess="sell", sale=3,
        allocation="fixed",
    )  # fmt: skip
    assert found.rows == (
        ("shop-1/hvac-roof", 1, 2_500_000_000, True, 40 * TOKEN, 20 * TOKEN, 0),
        ("shop-1/hvac-door", 100, 0, False, None, 0, 250),
    )
    assert parse_policy('network = "a"\n', "f", 9)[0] is not None


@pytest.mark.parametrize(
    ("line", "expected", "hint"),
    [
        ("pool_flor = 5", "2:1: unknown-key", 'did you mean "pool_floor"?'),
        ("  proceds = 'pool'", "2:3: unknown-key", 'did you mean "proceeds"?'),
        ("device.x.rank = 1", "2:1: unknown-key", 'did you mean "devices"?'),
        ("zzz = 1", "2:1: unknown-key", "no term of a network"),
        ('[device."x"]\nrank = 1', "2:2: unknown-key", 'did you mean "devices"?'),
        ('devices = {"x" = {rank = 1}, "y" = {rank = 2000}}', "2:37: out-of-range", "y: "),
        ("[devices.x]\nflor = 1", "3:1: unknown-key", 'did you mean "floor"?'),
        ("[devices.x]\nrank = 1\nshare = 5", "4:1: unknown-key", 'did you mean "share_permille"?'),
        ("[devices]\nx = { rank = 1, gvies = false }", "3:17: unknown-key", 'did you mean "gives"?'),
        ("[devices]\nx.rnak = 1", "3:3: unknown-key", 'did you mean "rank"?'),
        ('proceeds = "pol"', "2:1: unknown-proceeds", 'did you mean "pool"?'),
        ('excess = "redem"', "2:1: unknown-excess", 'did you mean "redeem"?'),
        ('allocation = "fixd"', "2:1: unknown-rule", 'did you mean "fixed"?'),
        ("proceeds = 1", "2:1: wrong-type", "a text in quotes, not 1"),
        ("pool_helps = 1", "2:1: wrong-type", "true or false, not 1"),
        ('pool_floor = "5"', "2:1: wrong-type", "not a text"),
        ("pool_floor = true", "2:1: wrong-type", "not true"),
        ("pool_floor = 2017-07-01", "2:1: wrong-type", "not a time"),
        ("carry_periods = 1.5", "2:1: wrong-type", "a whole number, not 1.5"),
        ("carry_cap = [1]", "2:1: wrong-type", "not a list"),
        ("devices = 3", "2:1: wrong-type", "tables like"),
        ("devices.x = 3", "2:9: wrong-type", '[devices."x"]'),
        ("[devices.x]\nrank = 1.5", "3:1: wrong-type", "a whole number"),
        ("pool_floor = -1", "2:1: out-of-range", "less than 0"),
        ("pool_floor = 1e40", "2:1: out-of-range", "more than the ledger counts"),
        ("pool_floor = nan", "2:1: out-of-range", "no number"),
        ("pool_floor = 0.0000000001", "2:1: out-of-range", "finer than one base unit"),
        ("carry_periods = -1", "2:1: out-of-range", "not from 0"),
        ("[devices.x]\nrank = 1001", "3:1: out-of-range", "a rank 0 to 1000"),
        ("[devices.x]\nfloor = 3\nlimit = 2", "3:1: floor-above-limit", "x: "),
        ("[devices.x]\namount = 3", "3:1: not-fixed", "x: "),
        ('excess = "sell"\ncarry_cap = 1', "2:1: sale-without-agreement", "to whom"),
        ("pool_floor = ", "2:14: bad-toml", "Invalid value"),
        ("pool_floor 5", "2:12: bad-toml", "Expected '='"),
        ("[devices.x]\n[devices.x]", "3:11: named-twice", "x"),
        ("pool_floor = 1\npool_floor = 2", "3:15: named-twice", "overwrite"),
    ],
)
def test_a_typo_is_told_where_it_is_and_what_was_meant(line: str, expected: str, hint: str) -> None:
    text = f'network = "a"\n{line}\n'
    assert told(text) == [expected]
    assert hint in parse_policy(text, "f", 9)[1][0].message


def test_everything_is_told_at_once_in_the_order_of_the_file() -> None:
    text = 'proceeds = "pol"\npool_helps = 1\n\n[devices.x]\nflor = 1\nlimit = "a"\n'
    assert told(text) == [
        "0:0: missing-key", "1:1: unknown-proceeds", "2:1: wrong-type", "5:1: unknown-key", "6:1: wrong-type"
    ]  # fmt: skip
    two = 'network = "a"\n[devices.x]\nfloor = 1\ngives = false\n[devices.y]\nshare_permille = 3\n'
    assert told(two) == ["3:1: floor-without-giving", "6:1: not-fixed"]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    assert [problem.code for problem in read_policy(path, 9)[1]] == ["cannot-read"]
    path.write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    assert [problem.code for problem in read_policy(path, 9)[1]] == ["too-large"]
    path.write_bytes(b'network = "a"\nproceeds = "\xc3\xa9\xff"\n')
    assert str(read_policy(path, 9)[1][0]) == f"{path}:2:14: bad-toml: not UTF-8 text"
    path.write_text("a = " + "[" * 5_000)
    assert [problem.code for problem in read_policy(path, 9)[1]] == ["bad-toml"]
    path.write_bytes(b'\xef\xbb\xbfnetwork = "a"\r\npool_floor = 1\r\n')
    assert read_policy(path, 9)[1] == []


HUGE = [
    ("carry_periods = " + "9" * 5_000, "2:17: bad-toml"),
    ("excess = 0x" + "F" * 20_000, "2:10: bad-toml"),
    ("pool_floor = 1e99999999999999999999", "2:1: out-of-range"),
    ("pool_floor = 1e999999999", "2:1: out-of-range"),
    ("pool_floor = 1e-999999999", "2:1: out-of-range"),
    ("pool_floor = 1." + "0" * 35 + "1", "2:1: out-of-range"),
    ("a" + ".a" * 100_000 + " = 1", "2:17: bad-toml"),
    ("[a" + ".a" * 100_000 + "]", "2:18: bad-toml"),
    ("a = " + "{a=" * 3_000, "2:29: bad-toml"),
    ("a = " + "[" * 200_000, "2:13: bad-toml"),
    ("[" * 200_000, "2:3: bad-toml"),
    ('x = """' + '\n\\"""' * 50_000, "50003:1: bad-toml"),
    ('x = "' + '\\"' * 100_000, "2:200006: bad-toml"),
    ('x = """\n' + "a\n" * 120_000 + '"""', "2:1: unknown-key"),
    ('"' + "k" * 200_000 + '" = 1', "2:1: unknown-key"),
    (f"[devices.{'d' * 49}]", "2:10: out-of-range"),
    (f"[devices.{'d' * 49}]\nrnk = 1", "2:10: out-of-range 3:1: unknown-key"),
    ("\n".join(f"[devices.d{number}]" for number in range(300)), "258:10: out-of-range"),
    ("one line of a letter to somebody that has come here by mistake", "2:5: bad-toml"),
]


@pytest.mark.parametrize(("line", "expected"), HUGE, ids=[line[:20] for line, _ in HUGE])
def test_what_is_far_too_large_is_told_in_one_short_line_and_at_once(line: str, expected: str) -> None:
    started = time.process_time()
    problems = parse_policy(f'network = "a"\n{line}\n', "f", 9)[1]
    assert time.process_time() - started < 5
    assert " ".join(f"{problem.line}:{problem.column}: {problem.code}" for problem in problems) == expected
    assert all(len(str(problem)) < 200 for problem in problems)


def test_a_network_whose_name_nobody_can_have_hides_nothing() -> None:
    assert told(f'network = "{"n" * 257}"\nexces = 1\n') == ["1:1: out-of-range", "2:1: unknown-key"]


amounts = st.integers(0, MAX_AMOUNT)
donors = st.builds(
    Donor, rank=st.integers(0, 1_000), floor=amounts, gives=st.booleans(), limit=st.none() | amounts, amount=amounts,
    share=st.integers(0, 1_000),
)  # fmt: skip
policies = st.builds(
    Policy, proceeds=st.sampled_from(["pool", "device"]), pool_helps=st.booleans(), pool_floor=amounts,
    carry_cap=amounts, carry_periods=st.integers(0, 9), excess=st.sampled_from(["return", "redeem", "sell"]),
    sale=st.integers(0, 9), allocation=st.sampled_from(["by-hand", "fixed", "history", "forecast"]),
)  # fmt: skip
names = st.text("abc/-.0", min_size=1, max_size=9)


@given(policy=policies, terms=st.dictionaries(names, donors, max_size=4), decimals=st.integers(0, 12))
def test_what_is_shown_is_read_again_and_its_contradictions_are_the_chains(
    policy: Policy, terms: dict[str, Donor], decimals: int
) -> None:
    rows: tuple[Row, ...] = tuple((device, *donor) for device, donor in terms.items())
    found, problems = parse_policy(format_policy("home-1", policy, rows, decimals), "f", decimals)
    assert found is not None and (found.policy, found.rows) == (policy, rows)
    assert sorted(problem.code for problem in problems) == sorted(fault.name for fault in faults_of(policy, rows))
    assert all(problem.line for problem in problems if problem.code not in ("nothing-left", "nothing-fixed"))


def test_the_policy_in_the_documentation_is_one() -> None:
    page = (Path(__file__).parents[2] / "docs" / "policies.md").read_text()
    found, problems = parse_policy(page.split("```toml\n")[1].split("```")[0], "policies.md", 9)
    assert problems == [] and found is not None
    assert found.policy.allocation == "fixed" and len(found.rows) == 2
    told = {problem for problem in FAULTS if problem not in ("out-of-range",)}
    assert all(f"`{name}`" in page for name in told)


def test_places_of_keys() -> None:
    text = 'a = """\nb = 1\n"""  # c\n[[t]]\n  x = [\n 1,\n]\ny = 2\n'
    assert places_of(text) == {("a",): (1, 1), ("t",): (4, 3), ("t", "x"): (5, 3), ("t", "y"): (8, 1)}
    text = '[ "a" . "\\u0062".c] # d = 1\nu = { v . w = 2, x = [[{ y = 1 }], "z = 1"], z = 07:30:00.5 }\n'
    assert {"/".join(path): place for path, place in places_of(text).items()} == {
        "a": (1, 3), "a/b": (1, 9), "a/b/c": (1, 18),
    }  # fmt: skip
    assert {"/".join(path): place for path, place in places_of(text[text.index("\n") :]).items()} == {
        "u": (2, 1), "u/v": (2, 7), "u/v/w": (2, 11), "u/x": (2, 18), "u/x/y": (2, 26), "u/z": (2, 46),
    }  # fmt: skip


def test_what_would_change_in_words() -> None:
    before = Policy(), (("a/b", *Donor(rank=3, limit=5)), ("a/c", *Donor(gives=False)))
    after = Policy(pool_floor=2_500, carry_cap=7), (("a/b", *Donor(rank=3)), ("a/d", *Donor(share=4)))
    assert changes(before, after, 3) == [
        Change("", "pool_floor", "0", "2.5"),
        Change("", "carry_cap", "none", "0.007"),
        Change("a/b", "limit", "0.005", "none"),
        Change("a/c", "gives", "false", "true"),
        Change("a/d", "share_permille", "0", "4"),
    ]
    assert changes(before, before, 3) == []


def test_amounts_are_exact() -> None:
    assert Decimal("0.1") + Decimal("0.2") == Decimal("0.3")
    found, _ = parse_policy('network = "a"\npool_floor = 9223372036.854775807\n', "f", 9)
    assert found is not None and found.policy.pool_floor == MAX_AMOUNT


def test_every_contradiction_has_words() -> None:
    assert all(words for words in FAULTS.values())
