"""A certificate's end is said for weeks, by doctor and metrics, and is never a reason to hold a node for stalled."""

from pathlib import Path

import msgspec
import prometheus_client
import pytest

from node.diagnosis import CertificateEnd, Report, findings, unready
from node.metrics import Metrics
from tests.test_diagnosis import HEALTHY

DAY_MS = 86_400_000


def with_end(days: int, use: str = "gateway") -> Report:
    """A certificate of thirty days that ends in ``days``."""
    ends = HEALTHY.now_ms + days * DAY_MS
    return msgspec.structs.replace(HEALTHY, certificates=(CertificateEnd(use, ends, ends - 15 * DAY_MS),))


@pytest.mark.parametrize("use", ["gateway", "ca"])
@pytest.mark.parametrize(
    ("days", "code", "words"),
    [(16, None, ""), (14, "certificate-ends", "ends in 14 days"), (-4, "certificate-expired", "ended 4 days ago")],
)
def test_doctor_says_so(days: int, code: str | None, words: str, use: str) -> None:
    report = with_end(days, use)
    found = {finding.code: finding.text for finding in findings(report)}
    assert set(found) == ({code} if code else set())
    assert all(words in text and "watt ca renew" in text for text in found.values())
    assert unready(report) == ()


def test_a_stale_list_is_a_note() -> None:
    found = findings(msgspec.structs.replace(HEALTHY, stale_lists=("utility",)))
    assert [(finding.level, finding.code) for finding in found] == [("note", "revocations-stale")]


def test_the_metric_counts_down_and_is_explained() -> None:
    text = prometheus_client.generate_latest(Metrics(lambda: with_end(-1)).registry).decode()
    assert 'watt_certificate_seconds{use="gateway"} -86400.0' in text
    assert "`watt_certificate_seconds`" in (Path(__file__).parent.parent / "docs" / "operations.md").read_text()
