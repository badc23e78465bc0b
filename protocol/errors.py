"""Everything that can be refused at a door of the swarm, and the base of every error of zwerm.

Draw it as a small tree; packages above add branches, never another root:

    Exception
      └─ ZwermError            .code  .message  .hint       + class attributes  definite, retryable
           ├─ Rejected         bytes or text from outside were refused; nothing in them was acted upon
           └─ (mesh, roles)    what went wrong between this device and the rest

A code is stable and is meant for programs; message and hint are for a person: what happened and why, and what to do next. The codes
of `Rejected` are those of SPEC (ENV-9, OBJ-4, CERT-5, INV-5, ...), in the order in which a verifier tests for them.
Rules: a `Rejected` is made on the hot path, by anybody who can send bytes, so making one costs a fraction of a microsecond: the
words are looked up when somebody reads them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

__all__ = ["EXPLANATIONS", "REJECT_CODES", "Rejected", "ZwermError"]


class ZwermError(Exception):
    """Base of every error that zwerm raises on purpose: `ZwermError(code, message, hint)`."""

    definite: ClassVar[bool] = True
    """True: what was asked for surely did not happen. False: nobody knows (a timeout)."""
    retryable: ClassVar[bool] = False
    """True: the same call may succeed later although no person changed anything."""

    def __init__(self, code: str, message: str = "", hint: str = "") -> None:
        super().__init__(code, message, hint)

    @property
    def code(self) -> str:
        """The stable name, `E_...`."""
        return str(self.args[0])

    @property
    def message(self) -> str:
        """What happened and why, as one sentence without a full stop."""
        given = self.args[1] if len(self.args) > 1 else ""
        return str(given) if given else EXPLANATIONS.get(self.code, (self.code, ""))[0]

    @property
    def hint(self) -> str:
        """What to do next, or an empty string."""
        given = self.args[2] if len(self.args) > 2 else ""
        return str(given) if given else EXPLANATIONS.get(self.code, ("", ""))[1]

    def __str__(self) -> str:
        return f"{self.message} ({self.code})"


class Rejected(ZwermError):
    """Something from outside was refused, for the one reason that `code` names. Nothing in it was acted upon."""

    if TYPE_CHECKING:

        def __init__(self, code: str, message: str = "", hint: str = "", /) -> None: ...

    else:
        # Anybody can make us refuse junk: the constructor in C keeps the arguments just as well, in a third of the time.
        __init__ = Exception.__init__


EXPLANATIONS: Final[dict[str, tuple[str, str]]] = {
    # The envelope, in the order of verification (ENV-9).
    "E_SHORT": (
        "the message is shorter than the smallest possible one",
        "Ignore it: it is noise or cut off.",
    ),
    "E_LONG": (
        "the message is longer than its kind may be",
        "Send the content as an artifact and its reference.",
    ),
    "E_MAGIC": (
        "these bytes are not of the swarm protocol",
        "Ignore them, or find who sends to this subject.",
    ),
    "E_VERSION": (
        "the format is of a version that this program does not know",
        "Update zwerm on this device.",
    ),
    "E_FLAGS": ("a flag is set that this version does not know", "Update zwerm on this device."),
    "E_RESERVED": ("a reserved byte is not zero", "Update zwerm on the sending device."),
    "E_SWARM": ("it belongs to another swarm", "Check which swarm the sender joined: `zwerm status`."),
    "E_TYPE": (
        "this type of message is not allowed here",
        "Update zwerm so that both sides have one version.",
    ),
    "E_AUD": (
        "it was addressed to somebody or something else",
        "Ignore it: a message was moved or repeated.",
    ),
    "E_LEN": ("the length field and the real length disagree", "Ignore it: it was cut off or added to."),
    "E_TIME": ("it is too old, or from the future", "Check the clocks of both devices: `zwerm doctor`."),
    "E_SENDER": (
        "the sender is not a known member",
        "The sender must join first: `zwerm invite`, `zwerm join`.",
    ),
    "E_REVOKED": ("the sender's membership was revoked or replaced", "If that is wrong, let it join again."),
    "E_CERT_EXPIRED": ("the sender's membership has expired", "The sender must renew or join again."),
    "E_ROLE": ("the sender has no role that may say this", "Invite the device again with the role it needs."),
    "E_CLASS": ("data of this class or zone may not travel like this", "Lower the class, or use a zone."),
    "E_REPLAY": (
        "this message was already received, or is too far behind",
        "Ignore it: somebody repeats messages.",
    ),
    "E_RATE": (
        "the sender sends more than it may",
        "Let the sender slow down; look for a loop on that device.",
    ),
    "E_SIG": ("the signature does not hold", "Ignore it: it was changed or forged."),
    "E_SESSION": (
        "the sender's session is not confirmed yet",
        "The sender answers the challenge and sends again.",
    ),
    "E_DECRYPT": (
        "the body cannot be opened with this device's key",
        "The sender must seal it to the right node.",
    ),
    "E_BODY": ("the body is not strict msgpack", "Update zwerm on the sending device."),
    "E_SCHEMA": (
        "a field is missing, unknown, or has a wrong value",
        "Update zwerm so that both sides have one version.",
    ),
    # Keys.
    "E_KEY": ("the public key is not one that proves anything", "Make a new key pair on that device."),
    # The invite's text (INV-5).
    "E_PREFIX": (
        "this is not an invite: invites begin with swarm1",
        "Copy the whole line that `zwerm invite` printed.",
    ),
    "E_B32": (
        "the invite has a character that cannot be in one",
        "Copy the whole line that `zwerm invite` printed.",
    ),
    "E_B32_NONCANONICAL": (
        "the invite's last character is wrong",
        "Copy the whole line that `zwerm invite` printed.",
    ),
    "E_CHECKSUM": ("the invite is mistyped", "Copy the whole line that `zwerm invite` printed."),
    "E_TRUNC": ("the invite ends in the middle of an address", "Ask for a new invite."),
    "E_TRAILING": ("the invite goes on behind its last address", "Ask for a new invite."),
    # Signed objects, charter, certificate, enrolment.
    "E_ISSUER": (
        "it is signed by a key that may not sign it",
        "Ask an admin which enroller is still in the charter.",
    ),
    "E_GRANT": (
        "it gives rights that its issuer may not give",
        "Let the issuer stay within its charter grant.",
    ),
    "E_NOT_YET": ("it is not valid yet", "Check the clocks of both devices: `zwerm doctor`."),
    "E_CHAIN": ("the charter does not follow from the one before it", "Fetch the whole charter chain again."),
    "E_THRESHOLD": ("too few root keys have signed the charter", "Let more root keys sign it."),
    "E_PROOF": ("the joining device does not prove that it holds the invite and its keys", "Join again."),
}
"""What each code means and what to do next; `zwerm help E_...` prints it."""

REJECT_CODES: Final[frozenset[str]] = frozenset(EXPLANATIONS)
"""Every code that a `Rejected` of this package can carry."""
