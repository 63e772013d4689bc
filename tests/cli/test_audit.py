"""Exports for an auditor: every row is proven, none is missing, and whatever is changed in them is found."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.audit_reading import slots_of
from cli.main import main
from node.ledger.store import LevelStore
from node.model.genesis import dump_genesis
from node.setup import DATABASE_NAME
from node.snapshot.shelf import Shelf
from tests.chaincode.marketplace import SLOT_S
from tests.test_erasing import FINAL_AT, Street

TABLES = {
    "alerts", "bills", "budgets", "deleted", "devices", "entries", "epochs", "networks", "orders", "parked", "products",
    "readings", "rules", "settlements", "supply", "tariffs", "trades", "transfers", "upgrades",
}  # fmt: skip


class Data:
    """A stopped node's data, with trades, readings and a settled day."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.genesis, self.config = place / "genesis.json", place / "node.toml"
        (place / "data").mkdir()
        store = LevelStore(place / "data" / DATABASE_NAME, create=True)
        street = Street(store, Shelf(place / "data" / "snapshots"))
        money = {"period": 0, "amount": 900_000, "reference": b"1"}
        chain, at = street.chain, FINAL_AT + 3
        street.block(at, *[chain.tx("utility", "budget", "issue", network=f"home-{n}", **money) for n in (1, 2, 3)])
        for home, device in (("home-1", "home-1/load"), ("home-2", "home-2/load")):
            amounts = [[device, 400_000]]
            street.block(at + 1, chain.tx(home, "budget", "allocate", network=home, period=0, amounts=amounts))
        slot = FINAL_AT // SLOT_S + 1
        orders = [("home-1/load", "buy", 500, 80), ("home-2/load", "buy", 800, 70), ("home-3/pv", "sell", 900, 30)]
        placed = []
        for device, side, wh, price in orders:
            terms = {"slot": slot, "side": side, "energy_wh": wh, "price": price, "until": "gate", "renewable": False}
            placed.append(chain.tx(device, "market", "place", device=device, **terms))
        street.block(at + 2, *placed)
        street.until((slot + 1) * SLOT_S)
        street.block((slot + 1) * SLOT_S, *[street.reading(name, slot) for name in ("home-1/load", "home-3/pv")])
        street.until((slot + 3) * SLOT_S)
        self.end = street.chain.ledger.head.time
        self.genesis.write_bytes(dump_genesis(street.chain.genesis))
        self.config.write_text(
            'member = "member-0"\ngenesis = "genesis.json"\ndata_dir = "data"\nkey_file = "key"\ntls_key_file = "tls"\n'
            'tls_certificate = "crt"\n[peer]\nlisten = "127.0.0.1:1"\naddresses = {}\n[gateway]\n'
            'listen = "127.0.0.1:2"\n'
        )
        store.close()

    def watt(self, *words: object) -> Result:
        return CliRunner().invoke(main, ["audit", *map(str, words)])

    def export(self, out: Path, *words: object) -> Result:
        return self.watt("export", "all", "--out", out, "--config", self.config, *words)

    def check(self, out: Path) -> Result:
        return self.watt("check", out, "--genesis", self.genesis)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    return Data(tmp_path_factory.mktemp("stopped"))


@pytest.fixture(scope="module")
def exported(data: Data, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exports") / "all"
    result = data.export(out, "--format", "csv")
    assert result.exit_code == 0, result.output
    assert "every row, and that none is missing" in result.output
    return out


def test_what_is_exported_is_proven_without_a_node(data: Data, exported: Path) -> None:
    assert not [path for path in (exported, *exported.iterdir()) if path.stat().st_mode & 0o077], "others can read it"
    manifest = json.loads((exported / "manifest.json").read_text())
    assert set(manifest["tables"]) == TABLES
    assert {path.stem for path in exported.glob("*.csv")} == TABLES
    for table in ("products", "trades", "orders", "settlements", "entries", "readings", "transfers", "bills"):
        rows = (exported / f"{table}.csv").read_text().splitlines()
        assert len(rows) - 1 == manifest["tables"][table]["rows"] > 0, table
    result = data.check(exported)
    assert result.exit_code == 0, result.output
    assert "Not proven: that a node has shown its newest block" in result.output
    said = json.loads(CliRunner().invoke(main, [
        "audit", "check", str(exported), "--genesis", str(data.genesis), "--json",
    ]).stdout)  # fmt: skip
    assert said["tables"]["trades"] > 0 and said["left_out"] == []


def test_parquet_holds_the_same_rows(data: Data, exported: Path, tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow.parquet")
    out = tmp_path / "parquet"
    assert data.export(out, "--network", "home-2").exit_code == 0
    assert data.check(out).exit_code == 0
    table = pyarrow.read_table(out / "trades.parquet").to_pylist()
    assert table and {row["device"] for row in table} <= {"home-2/load", "home-2/pv"}
    assert all(type(row["energy_wh"]) is int for row in table)
    broken = out / "trades.parquet"
    broken.write_bytes(broken.read_bytes()[:-9])
    assert data.check(out).stderr.startswith("watt: bad-audit: ")


def first_line_twice(text: str) -> str:
    lines = text.splitlines()
    return "\n".join([*lines, lines[-1]]) + "\n"


@pytest.mark.parametrize("table", sorted(TABLES - {"alerts", "deleted", "parked", "upgrades"}))
@pytest.mark.parametrize(
    "change",
    [first_line_twice, lambda text: "\n".join(text.splitlines()[:-1]) + "\n", lambda text: text.replace("0", "1", 1)],
    ids=["added", "dropped", "changed"],
)
def test_a_changed_table_is_found(data: Data, exported: Path, table: str, change: Callable[[str], str]) -> None:
    path = exported / f"{table}.csv"
    before = path.read_text()
    changed = change(before)
    if changed == before:
        pytest.skip("there is nothing to change")
    path.write_text(changed)
    try:
        result = data.check(exported)
        assert result.exit_code == 1 and result.stderr == f"watt: wrong-table: not what the proofs say: {table}\n"
    finally:
        path.write_text(before)


def drop_a_block(raw: bytes) -> bytes:
    size = int.from_bytes(raw[:4], "big")
    second = int.from_bytes(raw[4 + size : 8 + size], "big")
    return raw[: 4 + size] + raw[8 + size + second :]


@pytest.mark.parametrize(
    ("name", "change", "code"),
    [
        ("answers.export", lambda raw: raw[:-1], "bad-export"),
        ("answers.export", lambda raw: raw[:5000] + bytes([raw[5000] ^ 1]) + raw[5001:], "bad-"),
        ("blocks.events", drop_a_block, "bad-audit"),
        ("blocks.events", lambda raw: raw[:-1], "bad-audit"),
        ("blocks.events", lambda raw: raw[:900] + bytes([raw[900] ^ 1]) + raw[901:], "bad-audit"),
        ("manifest.json", lambda raw: b"{}", "bad-audit"),
        ("manifest.json", lambda raw: raw.replace(b'"products": {', b'"../products": {'), "bad-audit"),
        ("manifest.json", lambda raw: raw.replace(b'"networks": null', b'"networks": ["home-1"]'), ""),
        ("manifest.json", lambda raw: raw.replace(b'"left_out": []', b'"left_out": [["network", "home-2"]]'), ""),
    ],
)
def test_changed_proofs_and_manifests_are_found(
    data: Data, exported: Path, name: str, change: Callable[[bytes], bytes], code: str
) -> None:
    path = exported / name
    before = path.read_bytes()
    path.write_bytes(change(before))
    try:
        result = data.check(exported)
        assert result.exit_code == 1 and result.stderr.startswith(f"watt: {code}"), result.output
    finally:
        path.write_bytes(before)


def test_another_genesis_and_a_directory_that_is_none(data: Data, exported: Path, tmp_path: Path) -> None:
    other = tmp_path / "genesis.json"
    other.write_text(data.genesis.read_text().replace('"WATT"', '"WATS"'))
    result = data.watt("check", exported, "--genesis", other)
    assert result.stderr.startswith("watt: wrong-chain: ")
    assert data.check(tmp_path).stderr.startswith("watt: bad-audit: ")
    assert data.export(exported, "--format", "csv").stderr.startswith("watt: file-exists: ")
    assert data.watt("export", "all", "--out", tmp_path / "x").exit_code == 2


def test_the_page_has_the_figures_of_the_period(data: Data, tmp_path: Path) -> None:
    pdf = tmp_path / "page.pdf"
    told = data.watt("report", "all", "--config", data.config, "--json", "--pdf", pdf)
    assert told.exit_code == 0, told.output
    figures = json.loads(told.stdout)
    assert figures["trades"] > 0 and figures["paid"] == figures["received"] + figures["tolls"] + figures["rent"]
    assert (figures["issued"], figures["redeemed"]) == (2_700_000, 0)
    assert figures["budgets"] >= 3 and figures["budgets_unbalanced"] == figures["unbalanced"] == 0
    assert figures["networks"] == 3 and figures["erased"] == 1 and figures["parked"] == 0
    assert pdf.read_bytes().startswith(b"%PDF") and pdf.read_bytes().count(b"/Type /Page\n") == 1
    text = data.watt("report", f"0..{figures['slots']}", "--config", data.config)
    assert text.exit_code == 0 and "paid = received + tolls + rent in every slot" in text.output
    assert len(text.output.splitlines()) < 50
    for word in ("2017-13", "june", "5..3", "1990-01-01..x"):
        assert data.watt("report", word, "--config", data.config).exit_code == 2


def test_names_of_periods() -> None:
    day = partial(slots_of, slot_seconds=1_800)
    assert day("1970-01-01") == (0, 48) and day("all") == (None, None) and day("3..5") == (3, 5)
    assert day("1970-12") == (334 * 48, 365 * 48) and day("1970-01") == (0, 31 * 48)
    assert day("1970-01-01T00:30..1970-01-01T02:00") == (1, 4)


def test_whoever_verifies_a_nodes_data_is_told_what_has_been_checked(data: Data) -> None:
    words = ["node", "verify", "--config", str(data.config), "--jobs", "0"]
    told = CliRunner().invoke(main, words)
    head = json.loads(CliRunner().invoke(main, [*words, "--json"]).stdout)["height"]
    assert f"Blocks 1 to {head} have been executed again" in told.stdout and "erased" not in told.stdout, told.output
