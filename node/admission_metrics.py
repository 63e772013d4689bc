"""Who is refused why, what waits of whom, and what was not listened to, as metrics. Labels are names of members and our
own codes, so the number of series is bounded by the number of members."""

from collections.abc import Callable, Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class AdmissionMetrics(Collector):
    """``refused``: (member, code) to how many transactions; ``waiting``: member to how many are in the pool;
    ``dropped``: peer to how many forwarded ones were not read. A member is named "" if it is not known."""

    def __init__(
        self,
        refused: Callable[[], Mapping[tuple[str, str], int]],
        waiting: Callable[[], Mapping[str, int]],
        dropped: Callable[[], Mapping[str, int]],
    ) -> None:
        self._refused = refused
        self._waiting = waiting
        self._dropped = dropped

    def collect(self) -> Iterator[Metric]:
        refused = CounterMetricFamily("watt_refused", "Transactions refused at this gateway", labels=["member", "code"])
        for (member, code), count in sorted(self._refused().items()):
            refused.add_metric([member, code], count)
        waiting = GaugeMetricFamily("watt_waiting", "Transactions of a member that wait for a block", labels=["member"])
        for member, count in sorted(self._waiting().items()):
            waiting.add_metric([member], count)
        dropped = CounterMetricFamily(
            "watt_forwards_dropped", "Forwarded transactions that were not read", labels=["peer"]
        )
        for peer, count in sorted(self._dropped().items()):
            dropped.add_metric([peer], count)
        yield from (refused, waiting, dropped)
