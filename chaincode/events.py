"""Whose events are: for each topic the class of its data (``subjects.py``), or that everybody may see it.

What an event says is about those that its keys name; whoever may read such data of one of them sees the whole event.
A topic that stands nowhere here is seen by those alone who see everything: ``market-parked`` and its like, which name
what failed in the words of the machine. What an upgrade brings declares topics of its own (``Contract.events``).
"""

from typing import Final

from chaincode.subjects import BUDGET, GRANTS, MARKET, READINGS, REGISTRY

PUBLIC: Final = "public"

_TOPICS: Final = {
    PUBLIC: (
        "auction entropy-added feeder-meter-set grid-published hook-failed member-registered "
        "membership-approval-withdrawn membership-approved membership-proposed membership-scheduled "
        "membership-withdrawn motion-approval-withdrawn motion-approved motion-failed motion-in-force "
        "motion-proposed motion-scheduled motion-withdrawn outage product pruned redemption-price rent-returned "
        "rules rules-approval-withdrawn rules-approved rules-proposed rules-scheduled rules-withdrawn tariff "
        "tariffs-published upgrade-active upgrade-canceled upgrade-failed"
    ),
    REGISTRY: "device-moved device-registered key-changed network-classified network-registered period-planned",
    MARKET: "fill order",
    BUDGET: (
        "agreement alert alert-acknowledged budget-state cap-set curtail needs-refused network-limited owed "
        "owed-paid period-closed policy-set redeemed redemption-credited rent request restore sale shared "
        "transfer"
    ),
    READINGS: (
        "corrected erased erasure-asked estimated gap-failed gap-rest origin reading settled settled-anew "
        "settlement-parked settlement-released spread"
    ),
    GRANTS: "granted revoked",
}
EVENTS: Final = {topic: data for data, topics in _TOPICS.items() for topic in topics.split()}
"""Topic to class."""
CLOSED: Final = ("erasure-failed", "feeder", "feeder-reading", "market-parked", "origin-parked")
"""Topics that are for those alone who see everything."""
