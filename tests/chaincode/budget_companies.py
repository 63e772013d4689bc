"""What companies do with budgets at random, beside what every owner does: for ``test_budget_life``.

The utility caps, issues to companies and redeems; companies divide and limit; networks agree on help and on sales.
"""

from typing import Any, Protocol, cast

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from chaincode.contract import Value
from tests.chaincode.budget_town import MEMBER_OF, MEMBERS, NETWORKS, BudgetTown
from tests.chaincode.marketplace import UTILITY

networks = st.sampled_from(NETWORKS)
amounts = st.sampled_from([1, 900, 20_000, 90_000, 400_000])
ahead = st.sampled_from([0, 0, 0, 1, 1, 2])
holders = st.sampled_from([("network", network) for network in NETWORKS] + [("company", member) for member in MEMBERS])
agreements = st.fixed_dictionaries(
    {
        "sides": st.permutations(NETWORKS),
        "kind": st.sampled_from(["share", "sale"]),
        "cap": st.sampled_from([2_000, 30_000, 500_000]),
        "automatic": st.sampled_from([True, True, False]),
        "same_class": st.sampled_from([False, False, True]),
        "rank": st.integers(0, 1),
        "end_slot": st.sampled_from([0, 0, 6]),
    }
)
"""``sides``: giver, taker, and who has no part in it; ``end_slot``: in so many slots; 0: for ever."""


class Owners(Protocol):
    """What the rules below need of the machine that has them."""

    world: BudgetTown
    agreements: dict[int, dict[str, Any]]
    """By number, the terms."""
    sales: dict[int, int]
    """By number, the agreement's."""

    def attempt(self, sender: str | bytes, contract: str, method: str, **args: Any) -> Value: ...

    def reference(self) -> bytes: ...

    def propose(self, terms: dict[str, Any], answer: str) -> None: ...


class Companies:
    """Rules of a state machine."""

    # The utility.

    @rule(holder=holders, ahead=st.sampled_from([None, 0, 1]), amount=st.sampled_from([None, 10**6, 2 * 10**6]))
    def cap(self: Owners, holder: tuple[str, str], ahead: int | None, amount: int | None) -> None:
        period = None if ahead is None else _period(self.world, holder, ahead)
        self.attempt(UTILITY, "supply", "set_cap", kind=holder[0], name=holder[1], period=period, amount=amount)

    @rule(member=st.sampled_from(MEMBERS), ahead=ahead, amount=amounts)
    def issue_company(self: Owners, member: str, ahead: int, amount: int) -> None:
        of = {"member": member, "period": self.world.company_period(member, ahead), "amount": amount}
        self.attempt(UTILITY, "supply", "issue_company", **of, reference=self.reference())

    @rule(permille=st.sampled_from([0, 800, 1_000]), later=st.integers(1, 3))
    def redemption_price(self: Owners, permille: int, later: int) -> None:
        self.attempt(UTILITY, "supply", "publish_price", permille=permille, from_slot=self.world.slot + later)

    # Who holds tokens.

    @rule(holder=holders, ahead=ahead, amount=amounts, redeemed=st.booleans())
    def give_up(self: Owners, holder: tuple[str, str], ahead: int, amount: int, redeemed: bool) -> None:
        """Back to the utility, at its price or for nothing."""
        of = {"kind": holder[0], "name": holder[1], "period": _period(self.world, holder, ahead), "amount": amount}
        if not redeemed:
            self.attempt(holder[1], "supply", "return_tokens", **of, reference=b"r")
            return
        done = self.attempt(holder[1], "supply", "redeem", **of, reference=self.reference(), least=1)
        if done is not None:
            number = cast("tuple[int, int, int]", done)[0]
            self.attempt(UTILITY, "supply", "credit", redemption=number, bill=b"bill")

    @rule(network=networks, ahead=ahead, amount=amounts, back=st.sampled_from([False, False, True]))
    def assign(self: Owners, network: str, ahead: int, amount: int, back: bool) -> None:
        of = {"network": network, "period": self.world.company_period(MEMBER_OF[network], ahead), "amount": amount}
        self.attempt(MEMBER_OF[network], "companies", "take_back" if back else "assign", **of)

    @rule(network=networks, amount=st.sampled_from([None, 50_000]), named=st.sampled_from(["", "cooling"]))
    def limit(self: Owners, network: str, amount: int | None, named: str) -> None:
        self.attempt(MEMBER_OF[network], "companies", "limit_network", network=network, amount=amount)
        self.attempt(MEMBER_OF[network], "companies", "classify", network=network, class_name=named)

    # Between networks.

    @rule(terms=agreements, answer=st.sampled_from(["accept", "accept", "accept", "decline", "withdraw"]))
    def agree(self: Owners, terms: dict[str, Any], answer: str) -> None:
        self.propose(terms, answer)

    @precondition(lambda self: self.agreements)
    @rule(data=st.data(), ahead=ahead, amount=amounts, ended=st.sampled_from([False, False, False, False, True]))
    def under_agreement(self: Owners, data: st.DataObject, ahead: int, amount: int, ended: bool) -> None:
        """A share by hand, or an offer; or its end."""
        number, terms = data.draw(st.sampled_from(sorted(self.agreements.items())))
        if ended:
            self.attempt(terms["taker"], "agreements", "end", agreement=number)
            return
        of = {"agreement": number, "period": self.world.period(terms["giver"], ahead), "amount": amount}
        if terms["kind"] == "share":
            self.attempt(terms["giver"], "agreements", "share", **of)
        else:
            done = self.attempt(terms["giver"], "sales", "offer", **of)
            if done is not None:
                self.sales[cast("int", done)] = number

    @precondition(lambda self: self.sales)
    @rule(data=st.data(), what=st.sampled_from(["accept", "accept", "accept", "decline", "withdraw"]))
    def answer_sale(self: Owners, data: st.DataObject, what: str) -> None:
        sale, number = data.draw(st.sampled_from(sorted(self.sales.items())))
        terms = self.agreements[number]
        payment = {"payment": b"paid"} if what == "accept" else {}
        self.attempt(terms["giver" if what == "withdraw" else "taker"], "sales", what, sale=sale, **payment)
        self.attempt(terms["giver"], "sales", "confirm_payment", sale=sale)


def _period(world: BudgetTown, holder: tuple[str, str], ahead: int) -> int:
    kind, name = holder
    return world.period(name, ahead) if kind == "network" else world.company_period(name, ahead)
