"""Arguments of queries that are bounded by what there is: ``slot: Slot`` in place of ``slot: int``.

A proven answer shows digests of the entries that lie beside those it rests on. Whoever could name any slot, period or
account at all would choose one whose entry, though it is not there, lies beside another's that it wants to know of. So
an argument of one of these types is checked by the registry before the query (``bounds.py``), and what is out of bounds
is refused by the calendar alone, before an entry of that name is looked for. A transaction's are not checked so.
"""

from typing import Annotated, Final, TypeAlias

SLOT: Final = "slot"
NETWORK_PERIOD: Final = "network-period"
DEVICE_PERIOD: Final = "device-period"
COMPANY_PERIOD: Final = "company-period"
HOLDER_PERIOD: Final = "holder-period"
GIVER_PERIOD: Final = "giver-period"
COMMON_PERIOD: Final = "common-period"
ACCOUNT: Final = "account"

Slot: TypeAlias = Annotated[int, SLOT]
"""A slot that has a product, or had one: from the chain's first one to the last that has opened."""
NetworkPeriod: TypeAlias = Annotated[int, NETWORK_PERIOD]
"""A period of the argument ``network``, from that of the chain's first slot to as far as periods are planned."""
DevicePeriod: TypeAlias = Annotated[int, DEVICE_PERIOD]
"""The same of the network of the argument ``device``."""
CompanyPeriod: TypeAlias = Annotated[int, COMPANY_PERIOD]
"""The same of the company ``member``."""
HolderPeriod: TypeAlias = Annotated[int, HOLDER_PERIOD]
"""The same of whom ``kind`` and ``name`` name."""
GiverPeriod: TypeAlias = Annotated[int, GIVER_PERIOD]
"""The same of the giver of the argument ``agreement``."""
CommonPeriod: TypeAlias = Annotated[int, COMMON_PERIOD]
"""The same of the consortium."""
Account: TypeAlias = Annotated[str, ACCOUNT]
"""An account of a slot or a period within these bounds, or one that is named for good."""
