"""A cluster that remembers every vote that a node ever sent, and what its disk held before."""

from node.consensus.messages import Message, Proposal, Signed
from node.consensus.statements import Commit, Prepare, PrePrepare, Statement, ViewChange
from tests.consensus.harness import Cluster


class Audited(Cluster):
    """Keeps every vote that a node ever sent."""

    def __init__(self, n: int = 4, *, timeout_ticks: int = 20) -> None:
        self.votes: dict[int, list[Statement]] = {index: [] for index in range(n)}
        super().__init__(n, timeout_ticks=timeout_ticks)

    def obey(self, index: int) -> None:
        before = len(self.network)
        super().obey(index)
        for sender, _, message in list(self.network)[before:]:
            signed = message.pre_prepare if isinstance(message, Proposal) else message
            if isinstance(signed, Signed) and signed.sender == sender:
                self.votes[sender].append(self.statement(signed))

    def assert_nobody_voted_twice(self) -> None:
        """One vote for each (view, height, phase), and one ViewChange for each view."""
        for index, votes in self.votes.items():
            said: dict[object, Statement] = {}
            for vote in votes:
                if isinstance(vote, PrePrepare | Prepare | Commit):
                    assert said.setdefault((type(vote), vote.view, vote.height), vote) == vote, index
                elif isinstance(vote, ViewChange):
                    assert said.setdefault((ViewChange, vote.view), vote) == vote, index

    def work(self, *nodes: int, until: int, rounds: int = 400) -> None:
        """Blocks, one after the other, up to a height."""
        for _ in range(rounds):
            if min(self.heights()[index] for index in nodes) >= until:
                return
            for index in nodes:
                replica = self.replica(index)
                if replica.wants_batch and replica.next_height <= until and replica.next_height == replica.height + 1:
                    self.propose(index)
            self.deliver()
            if min(self.heights()[index] for index in nodes) < until:
                self.tick(nodes, pending=True)
        assert min(self.heights()[index] for index in nodes) >= until


def everything(sender: int, to: int, message: Message) -> bool:
    return True


def nothing(sender: int, to: int, message: Message) -> bool:
    return False
