"""Whatever utility, company and owners do with tokens in whatever order: what there is is what was issued less what was
redeemed, caps and limits hold, and nothing is lost between a company and its networks."""

from typing import Any, cast

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from chaincode import accounts, budget_supply, companies
from chaincode.accounts import NetworkBook
from chaincode.budget_supply import Redemption
from chaincode.contract import ContractError
from tests.chaincode.club import club
from tests.chaincode.neighbourhood import CLUB, OWNER_1, OWNER_2, UTILITY, at_slot

PERIODS = (0, 1, 2)
OWNERS = {"home-1": OWNER_1, "home-2": OWNER_2, "club": CLUB}
HOLDERS = (("network", "home-1"), ("network", "home-2"), ("company", "club"))
LOADS = {"home-1": "home-1/load", "home-2": "home-2/load"}
REFUSALS = (
    "bad-amount", "insufficient-funds", "no-change", "no-redemption", "over-cap", "over-limit", "period-closing",
    "price-changed",
)  # fmt: skip

holders = st.sampled_from(HOLDERS)
homes = st.sampled_from(tuple(LOADS))
periods = st.sampled_from(PERIODS)
amounts = st.integers(1, 400)
limits = st.none() | st.integers(0, 800)


class Tokens(RuleBasedStateMachine):
    """A company with two homes; ``net`` remembers what each home has of it, ``credits`` what is to be credited."""

    @initialize(slot=st.integers(0, 9), permille=st.integers(1, 1_000))
    def begin(self, slot: int, permille: int) -> None:
        self.world = club()
        self.count = self.issued = self.redeemed = 0
        self.net: dict[tuple[str, int], int] = {}
        self.credits: dict[int, int] = {}
        self.slot = slot
        self.world.call(UTILITY, "supply", "publish_price", permille=permille, from_slot=slot + 1)
        at_slot(self.world, slot)

    def reference(self) -> bytes:
        self.count += 1
        return self.count.to_bytes(4, "big")

    def attempt(self, sender: bytes, contract: str, method: str, **args: Any) -> Any:
        """What it returns, or the refusal."""
        try:
            return self.world.call(sender, contract, method, **args)
        except ContractError as error:
            assert error.code in REFUSALS, error
            return error

    @rule(holder=holders, period=periods, amount=amounts)
    def issue(self, holder: tuple[str, str], period: int, amount: int) -> None:
        kind, name = holder
        with self.world.transaction() as ctx:
            cap = budget_supply.cap_of(ctx, kind, name, period)
            before = budget_supply.issued_to(ctx, kind, name, period)
        args = {"period": period, "amount": amount, "reference": self.reference()}
        if kind == "network":
            done = self.attempt(UTILITY, "budget", "issue", network=name, **args)
        else:
            done = self.attempt(UTILITY, "supply", "issue_company", member=name, **args)
        closing = self.slot >= 10 * (period + 1)
        over = cap is not None and before + amount > cap
        if isinstance(done, ContractError):
            assert (closing or over) and done.code == ("period-closing" if closing else "over-cap")
        else:
            assert not closing and not over and done == before + amount
            self.issued += amount

    @rule(holder=holders, period=st.none() | periods, amount=limits)
    def set_cap(self, holder: tuple[str, str], period: int | None, amount: int | None) -> None:
        kind, name = holder
        self.attempt(UTILITY, "supply", "set_cap", kind=kind, name=name, period=period, amount=amount)

    @rule(home=homes, amount=limits)
    def limit(self, home: str, amount: int | None) -> None:
        self.attempt(CLUB, "companies", "limit_network", network=home, amount=amount)

    @rule(home=homes, period=periods, amount=amounts)
    def assign(self, home: str, period: int, amount: int) -> None:
        with self.world.transaction() as ctx:
            limit = companies.limit_of(ctx, home)
        done = self.attempt(CLUB, "companies", "assign", network=home, period=period, amount=amount)
        if not isinstance(done, ContractError):
            self.net[home, period] = self.net.get((home, period), 0) + amount
            assert limit is None or self.net[home, period] <= limit

    @rule(home=homes, period=periods, amount=amounts)
    def take_back(self, home: str, period: int, amount: int) -> None:
        done = self.attempt(CLUB, "companies", "take_back", network=home, period=period, amount=amount)
        if not isinstance(done, ContractError):
            self.net[home, period] -= amount
            assert self.net[home, period] >= 0

    @rule(home=homes, period=periods, amount=amounts)
    def allocate(self, home: str, period: int, amount: int) -> None:
        args: dict[str, Any] = {"network": home, "period": period, "amounts": ((LOADS[home], amount),)}
        self.attempt(OWNERS[home], "budget", "allocate", **args)

    @rule(holder=holders, period=periods, amount=amounts, least=st.integers(0, 1_000))
    def redeem(self, holder: tuple[str, str], period: int, amount: int, least: int) -> None:
        kind, name = holder
        args = {"kind": kind, "name": name, "period": period, "amount": amount, "reference": self.reference()}
        done = self.attempt(OWNERS[name], "supply", "redeem", **args, least=least)
        if not isinstance(done, ContractError):
            number, permille, credit = done
            assert permille >= least and credit == amount * permille // 1_000 > 0
            self.credits[number] = credit
            self.redeemed += amount

    @rule(home=homes, period=periods, amount=amounts)
    def redeem_at_close(self, home: str, period: int, amount: int) -> None:
        with self.world.transaction() as ctx:
            left = min(amount, accounts.network_book(ctx, home, period).pool)
            if left and budget_supply.redeem_at_close(ctx, home, period, left, b"close"):
                record = budget_supply.open_redemptions(ctx, 0, 1_000)[-1]
                self.credits[record[0]] = record[1].credit
                self.redeemed += left

    @rule(holder=holders, period=periods, amount=amounts)
    def give_back(self, holder: tuple[str, str], period: int, amount: int) -> None:
        kind, name = holder
        args = {"kind": kind, "name": name, "period": period, "amount": amount, "reference": b"r"}
        self.attempt(OWNERS[name], "supply", "return_tokens", **args)

    @rule(amount=amounts)
    def burn(self, amount: int) -> None:
        done = self.attempt(UTILITY, "budget", "redeem", amount=amount, reference=b"r")
        if not isinstance(done, ContractError):
            self.redeemed += amount

    @rule(data=st.data())
    def credit(self, data: st.DataObject) -> None:
        if self.credits:
            number = data.draw(st.sampled_from(sorted(self.credits)))
            self.world.call(UTILITY, "supply", "credit", redemption=number, bill=b"b")
            del self.credits[number]
            assert self.world.refused(UTILITY, "supply", "credit", redemption=number, bill=b"b") == "already-credited"

    @rule(permille=st.integers(0, 1_000), ahead=st.integers(1, 9))
    def publish_price(self, permille: int, ahead: int) -> None:
        self.attempt(UTILITY, "supply", "publish_price", permille=permille, from_slot=self.slot + ahead)

    @rule(slots=st.integers(1, 4))
    def time_passes(self, slots: int) -> None:
        self.slot = min(self.slot + slots, 29)
        at_slot(self.world, self.slot)

    @invariant()
    def supply_is_what_was_issued_less_what_was_redeemed(self) -> None:
        issued, redeemed, whole = cast("tuple[int, int, int]", self.world.query("accounts", "audit"))
        assert (issued, redeemed) == (self.issued, self.redeemed) and issued - redeemed == whole

    @invariant()
    def books_balance_and_what_one_sent_another_received(self) -> None:
        with self.world.transaction() as ctx:
            for period in PERIODS:
                books = [accounts.network_book(ctx, home, period) for home in LOADS]
                books.append(accounts.company_book(ctx, "club", period))
                for book in books:
                    assert _came(book) == _went(book)
                assert sum(book.sent for book in books) == sum(book.received for book in books)
                for home in LOADS:
                    assert companies.given_to(ctx, home, period) == self.net.get((home, period), 0)

    @invariant()
    def what_is_to_be_credited_is_listed(self) -> None:
        rows = cast("tuple[tuple[Any, ...], ...]", self.world.query("supply", "open_redemptions"))
        assert {row[0]: Redemption(*row[1:]).credit for row in rows} == self.credits


def _came(book: NetworkBook) -> int:
    return book.issued + book.earned + book.received + book.carried_in + book.withdrawn


def _went(book: NetworkBook) -> int:
    gone = book.sent + book.sold + book.returned + book.redeemed + book.carried_out
    return book.pool + book.allocated + book.spent + gone


TestTokens = Tokens.TestCase
TestTokens.settings = settings(max_examples=30, stateful_step_count=40, deadline=None)
