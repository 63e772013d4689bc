"""A node that lacks an upgrade's code says so from the vote on: in its log, its report and its metrics; it does not
start at the height."""

import logging
from pathlib import Path

import msgspec
import pytest

from node.diagnosis import NOTE, PROBLEM, Upgrade, findings
from node.errors import ConfigError
from node.metrics import Metrics
from node.opening import require_upgrades
from node.upgrades.library import Library
from node.upgrades.watching import AGAIN_AFTER, UpgradeWatch
from tests import bundles
from tests.test_diagnosis import HEALTHY
from tests.test_upgrades import GENESIS, Town, install


def test_the_log_says_it_at_once_and_now_and_then_until_it_is_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, digest = install(tmp_path)
    library = Library(tmp_path / "late")
    chain = Town(library)
    watch = UpgradeWatch(chain.executor, lambda: chain.height)
    with caplog.at_level(logging.INFO, logger="watt.node"):
        watch.look()
        assert not caplog.records and watch.report() is None
        first = chain.decide(digest)
        watch.look()
        (record,) = caplog.records
        assert record.levelno == logging.WARNING
        assert f"digest={digest.hex()} first-height={first} blocks-left={first - 4}" in record.getMessage()
        for _ in range(AGAIN_AFTER):
            watch.look()
        assert len(caplog.records) == 1
        watch.look()
        assert len(caplog.records) == 2
        assert watch.report() == Upgrade("tally-2", digest.hex(), first, False)
        library.install(tmp_path / "source")
        for _ in range(2 * AGAIN_AFTER):
            watch.look()
        assert [record.getMessage().split()[0] for record in caplog.records[2:]] == ["upgrade-ready"]
        assert watch.report() == Upgrade("tally-2", digest.hex(), first, True)


def test_a_node_does_not_start_where_it_could_not_go_on(tmp_path: Path) -> None:
    library, digest = install(tmp_path)
    chain, bare = Town(library), Town(None)
    chain.run_to(chain.decide(digest) - 2)
    require_upgrades(chain.ledger, bare.registry, GENESIS)
    chain.run_to(chain.height + 1)
    with pytest.raises(ConfigError, match="upgrade-missing"):
        require_upgrades(chain.ledger, bare.registry, GENESIS)
    require_upgrades(chain.ledger, chain.registry, GENESIS)
    chain.add()
    with pytest.raises(ConfigError, match="it is active since block"):
        require_upgrades(chain.ledger, bare.registry, GENESIS)


def test_report_and_metrics_say_it() -> None:
    missing = Upgrade("rates", "ab" * 32, 20, installed=False)
    report = msgspec.structs.replace(HEALTHY, upgrade=missing)
    (finding,) = findings(report)
    assert (finding.level, finding.code) == (PROBLEM, "upgrade-missing")
    assert "in 7 blocks" in finding.text and "ab" * 32 in finding.text
    assert Metrics(lambda: report).registry.get_sample_value("watt_upgrade_missing") == 1
    there = msgspec.structs.replace(HEALTHY, upgrade=msgspec.structs.replace(missing, installed=True))
    assert [(found.level, found.code) for found in findings(there)] == [(NOTE, "upgrade-scheduled")]
    assert Metrics(lambda: there).registry.get_sample_value("watt_upgrade_missing") == 0


def test_a_damaged_bundle_is_as_good_as_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    library, digest = install(tmp_path)
    (library.directory / digest.hex() / "limits.py").write_text(bundles.LIMITS + "# another hand\n")
    chain = Town(Library(library.directory))
    chain.decide(digest)
    watch = UpgradeWatch(chain.executor, lambda: chain.height)
    report = watch.report()
    assert report is not None and not report.installed
    assert [record.getMessage().split()[0] for record in caplog.records] == ["upgrade-damaged"]
