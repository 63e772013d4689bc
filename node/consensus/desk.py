"""What every room of the core shares: the settings, the pen, the signatures found good, and the tray of what leaves."""

from collections.abc import Callable

from node.consensus.messages import EVERYONE, Evidence, Message, Ready, Send, Signed
from node.consensus.settings import MAX_VERIFIED, Settings
from node.consensus.statements import Statement, decode_statement, encode_statement
from node.errors import PeerError
from node.model.codec import sha256
from node.model.keys import SIGNATURE_BYTES, Signer, Verify


class CheckedSignatures:
    """A ``Verify`` that remembers the newest MAX_VERIFIED signatures found good: votes come again in
    certificates, and certificates in view changes. ``on_own`` is told (message, signature) of each by the own key."""

    def __init__(self, verify: Verify, own_key: bytes) -> None:
        self._verify = verify
        self._own_key = own_key
        self.on_own: Callable[[bytes, bytes], None] | None = None
        self._good: dict[bytes, None] = {}

    def __call__(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        if len(signature) != SIGNATURE_BYTES:
            return False
        key = sha256(public_key, signature, message)
        if key in self._good:
            return True
        if not self._verify(public_key, message, signature):
            return False
        if public_key == self._own_key and self.on_own is not None:
            self.on_own(message, signature)
        self._good[key] = None
        if len(self._good) > MAX_VERIFIED:
            del self._good[next(iter(self._good))]
        return True


class Desk:
    """Signs, checks and files. Everything that leaves the core is put into ``tray``."""

    def __init__(self, settings: Settings, signer: Signer, verify: Verify) -> None:
        self.settings = settings
        self.verify = CheckedSignatures(verify, settings.members[settings.me] if settings.me >= 0 else b"")
        self.tray = Ready()
        self._signer = signer
        self._accused: set[tuple[int, str]] = set()

    def sign(self, statement: Statement) -> Signed:
        """This replica's signed statement."""
        data = encode_statement(statement, self.settings.chain, self.settings.epoch)
        return Signed(self.settings.me, data, self._signer.sign(data))

    def said(self, member: int, statement: Statement, signature: bytes) -> Signed:
        """The statement as ``member`` signed it, its bytes written anew."""
        return Signed(member, encode_statement(statement, self.settings.chain, self.settings.epoch), signature)

    def read(self, signed: Signed) -> Statement:
        """The statement in ``signed``; the signature is not checked yet. Raises PeerError."""
        if not 0 <= signed.sender < self.settings.n:
            raise PeerError("wrong-sender", f"there is no member {signed.sender}")
        return decode_statement(signed.data, self.settings.chain, self.settings.epoch)

    def is_genuine(self, signed: Signed) -> bool:
        """Whether the member that it names signed it."""
        return self.verify(self.settings.members[signed.sender], signed.data, signed.signature)

    def require_genuine(self, signed: Signed) -> None:
        """Raises PeerError("bad-signature") unless ``is_genuine``."""
        if not self.is_genuine(signed):
            raise PeerError("bad-signature", f"not signed by member {signed.sender}")

    def send(self, to: int, message: Message) -> None:
        """After everything persisted so far is synced."""
        self.tray.send.append(Send(to, message))

    def broadcast(self, message: Message) -> None:
        """To all other members."""
        self.tray.send.append(Send(EVERYONE, message))

    def persist(self, record: bytes) -> None:
        """A record of the vote log; see node/consensus/records.py."""
        self.tray.persist.append(record)

    def accuse(self, kind: str, *statements: Signed, attachment: bytes = b"") -> None:
        """The statements are genuine, by one member, and no correct member signs them; see ``lies.py``. The first
        finding of each kind against each member is kept."""
        member = statements[0].sender
        if (member, kind) not in self._accused:
            self._accused.add((member, kind))
            self.tray.evidence.append(Evidence(member, kind, statements, attachment))

    def is_accused(self, member: int, kind: str) -> bool:
        """Whether a finding of that kind is kept: another one is not worth a look at its signature."""
        return (member, kind) in self._accused

    def watch_own(self, on_own: Callable[[bytes, bytes], None]) -> None:
        """Tell ``on_own`` (statement's bytes, signature) whenever a signature by the own key is found good."""
        self.verify.on_own = on_own

    def drain(self) -> Ready:
        """What has gathered in the tray."""
        tray, self.tray = self.tray, Ready()
        return tray
