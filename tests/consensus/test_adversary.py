"""One member signs whatever it likes, to whom it likes, on a network that loses and reorders: never two chains.

The adversary knows every batch and every vote, and says what could do most harm: proposals and votes for one batch to
some and another to others, old ViewChanges, NewViews from whichever quorum suits it. Honest faults are the simulator's.
"""

from random import Random

import pytest

from node.consensus.messages import Message, Proposal, Signed
from node.consensus.statements import Commit, NewView, Prepare, PrePrepare, Statement, Suspect, ViewChange
from node.consensus.view_change import outcome_of
from tests.consensus.harness import Cluster, make_batch, make_header, sign_as

ROUNDS = 400


class Adversary:
    """Holds the key of one member and hears all that is said."""

    def __init__(self, cluster: Cluster, me: int, random: Random) -> None:
        self.cluster, self.me, self.random = cluster, me, random
        self.batches = [make_batch(1000 + number, me) for number in range(3)]
        for number, (_, digest) in enumerate(self.batches):
            cluster.names[digest] = f"evil{number}"
        self.digests = [digest for _, digest in self.batches]
        self.view_changes: dict[int, dict[int, Signed]] = {}
        self.said: list[Signed] = []

    def hear(self, message: Message) -> None:
        """Remember batches, and the ViewChanges of others."""
        signed = message.pre_prepare if isinstance(message, Proposal) else message
        if not isinstance(signed, Signed):
            return
        statement = self.cluster.statement(signed)
        if isinstance(statement, PrePrepare | Prepare):
            if statement.digest not in self.digests:
                self.digests.append(statement.digest)
            self.second(Prepare(statement.view, statement.height, statement.digest))
        elif isinstance(statement, Commit):
            self.second(statement)
        elif isinstance(statement, ViewChange):
            self.view_changes.setdefault(statement.view, {})[signed.sender] = signed
            self.second(ViewChange(statement.view, None, ()))

    def second(self, statement: Statement) -> None:
        """Agree with whatever somebody says, and tell some of them: so any two can have a quorum with it."""
        if isinstance(statement, Prepare) and statement.view % self.cluster.n == self.me:
            return
        signed = self.sign(statement)
        if signed not in self.said:
            self.said.append(signed)
            for target in range(self.cluster.n):
                if target != self.me and self.random.random() < 0.8:
                    self.cluster.network.append((self.me, target, signed))

    def act(self) -> None:
        """Say one thing to one member."""
        random, cluster = self.random, self.cluster
        target = random.choice([index for index in range(cluster.n) if index != self.me])
        replica = cluster.replica(target)
        view, height = replica.view + random.choice((0, 0, 0, 1)), replica.height + random.choice((1, 1, 1, 2, 3))
        if random.random() < 0.3 and replica.primary == self.me:
            raw, digest = random.choice(self.batches)
            message: Message = Proposal(self.sign(PrePrepare(view, height, digest)), raw)
        else:
            statement = self.pick(view, height, target)
            message = self.sign(statement)
        cluster.network.append((self.me, target, message))

    def pick(self, view: int, height: int, target: int) -> Statement:
        """A statement for the state that its target is in."""
        random = self.random
        digest = random.choice(self.digests[-6:])
        kind = random.randrange(10)
        if kind < 4:
            return Prepare(view, height, digest)
        if kind < 7:
            head = self.cluster.replica(target)._pipeline.head
            return Commit(
                view, head.height + 1, make_header(head.height + 1, head.block_hash, digest, self.cluster.members).hash
            )
        if kind == 7:
            return Suspect(view)
        heard = self.view_changes.get(view, {})
        if kind == 8 or view % self.cluster.n != self.me or len(heard) < 2:
            return ViewChange(view + 1, None, ())
        own = self.sign(ViewChange(view, None, ()))
        quorum = dict(random.sample(sorted(heard.items()), 2)) | {self.me: own}
        chosen = tuple(quorum[member] for member in sorted(quorum))
        statements = [self.cluster.statement(signed) for signed in chosen]
        outcome = outcome_of([item for item in statements if isinstance(item, ViewChange)], 0)
        proposals = tuple((h, d, self.sign(PrePrepare(view, h, d)).signature) for h, d in outcome.proposals)
        return NewView(view, chosen, proposals)

    def sign(self, statement: Statement) -> Signed:
        """In its own name; it has no other key."""
        return sign_as(self.cluster.keys, self.me, statement)


@pytest.mark.parametrize("seed", range(12))
def test_no_adversary_makes_two_chains(seed: int) -> None:
    """Checklist 5, 10, 15, 20: and once it falls silent, the others go on."""
    random = Random(seed)
    cluster = Cluster(4, timeout_ticks=4)  # impatient: many views
    cluster.is_traced = False
    me = seed % 4
    adversary = Adversary(cluster, me, random)
    cluster.crash(me)  # its honest replica says nothing
    honest = [index for index in range(4) if index != me]
    lone, phase = honest[0], 0
    for number in range(ROUNDS):
        if number % 20 == 0:  # one of them alone learns of a commit; then it is cut off; then all is well
            phase = (phase + 1) % 3
            lone = random.choice(honest) if phase == 0 else lone
        for index in random.sample(honest, 3):
            cluster.replica(index).tick(pending=True, overdue=False)
            cluster.obey(index)
        for _ in range(random.randrange(4)):
            adversary.act()
        primary = cluster.replica(random.choice(honest)).primary
        if primary != me and cluster.replica(primary).wants_batch and random.random() < 0.7:
            cluster.propose(primary)
        for _ in range(random.randrange(2 * len(cluster.network) + 1)):
            if not cluster.network:
                break
            position = random.randrange(min(len(cluster.network), 12))
            sender, to, message = cluster.network[position]
            del cluster.network[position]
            adversary.hear(message)
            kind = cluster.kind(message)
            is_only_for_lone = phase == 0 and to != lone and kind in ("commit", "block-reply")
            if not is_only_for_lone and not (phase == 1 and lone in (sender, to)):
                cluster.receive(sender, to, message)
    cluster.network.clear()
    cluster.assert_one_chain()
    reached = max(cluster.heights())
    for _ in range(1500):
        cluster.tick(honest, pending=True)
        primary = cluster.replica(honest[0]).primary
        if (
            primary != me
            and cluster.replica(primary).wants_batch
            and cluster.replica(primary).next_height <= reached + 2
        ):
            cluster.propose(primary)
        if min(cluster.heights()[index] for index in honest) >= reached + 2:
            break
    cluster.assert_one_chain()
    assert min(cluster.heights()[index] for index in honest) >= reached + 2
