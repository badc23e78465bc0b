"""Who may say what on the bus: accounts, one permission scope a role, and the authority that signs them.

Three accounts. SYS is the servers' own. SWARM is where members talk and where the workspace is stored. ENROL is what somebody without
any credential lands in (through a bearer "sentinel" that every server knows): it may ask for the charter and send one enrolment request,
nothing else. SWARM's permissions are the second wall (signed envelopes are the first, SPEC ENV-1): every subject that names its sender is
writable only by that sender, and nobody but coordinators reads bids.

Rules: templates use `{{subject()}}` (the member's own public bus key) and nothing a joiner can choose; no role may create consumers, because a
consumer can be told to deliver into anybody's subscription; workers read the workspace by subject only.
Counterparts: `bus_jwt.py` (the token formats), `server.py` (which puts them into the server's config).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal, NamedTuple, get_args

from pydantic import BaseModel, ConfigDict

from . import bus_jwt
from .bus import ENROL_INBOX, inbox_prefix
from .errors import TokenRefused
from .nkeys import KEY_BYTES, Kind, NKey, raw_public
from .workspace import ART, BOARD, CERTS, INVITES, JOURNAL, STREAMS, SWARM_BUCKET, kv_stream

__all__ = [
    "COORDINATOR_SERVICES",
    "ENROLLER_SERVICES",
    "ENROL_INBOX",
    "ENROL_LIMITS",
    "ENROL_PAYLOAD_BYTES",
    "ENROL_PERMISSION",
    "ME",
    "PERMISSIONS",
    "ROLES",
    "BusAuthority",
    "Permission",
    "Role",
    "found_accounts",
    "inbox_prefix",
    "permission_for",
]

Role = Literal["agent", "coordinator", "client", "observer", "enroller", "admin", "bus", "registrar"]
"""What a bus credential is for. `bus` reads the servers' health, `registrar` hands them new account tokens; both are in SYS."""

ROLES: Final[tuple[Role, ...]] = get_args(Role)

COORDINATOR_SERVICES: Final = ("runs", "owner")
"""Services (`s.req.<service>.<ME>`) that coordinators answer."""

ENROLLER_SERVICES: Final = ("enroll",)
"""Services that enrollers answer to members: renewal, revocation, approval."""

ENROL_LIMITS: Final = {"conn": 32}
"""Connections without a credential at one time, over the whole swarm: a flood stops joins, and nothing else."""

ENROL_PAYLOAD_BYTES: Final = 4_096
"""An enrolment request is about 700 bytes sealed; the reply is sent by a member and is not bound by this."""

ME: Final = "{{subject()}}"
"""The server's template for the public key of the member that a permission is applied to."""
_REPLY_S: Final = 60.0
"""How long a service may take to answer: a join that waits for a person polls instead."""


class Permission(NamedTuple):
    """What one role may publish and subscribe, and whether it may answer a request once."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]
    answers: bool = False


def _read(stream: str) -> tuple[str, ...]:
    """Reads of a whole stream: direct, in batches (that form has no subject in its address), and where writes are decided."""
    return (
        f"$JS.API.DIRECT.GET.{stream}",
        f"$JS.API.DIRECT.GET.{stream}.>",
        f"$JS.API.STREAM.MSG.GET.{stream}",
    )


_SWARM_KV: Final = kv_stream(SWARM_BUCKET)
_BOARD_KV: Final = kv_stream(BOARD)
_ALL_PUB: Final = (
    f"s.hb.{ME}",
    f"s.req.*.{ME}",
    f"$JS.API.DIRECT.GET.{CERTS}.s.cert.>",
    f"$JS.API.DIRECT.GET.{_SWARM_KV}.$KV.{SWARM_BUCKET}.>",
)
_ALL_SUB: Final = (f"_I.{ME}.>", "s.ctl")
_STORE_ARTIFACTS: Final = (f"s.art.*.{ME}.*",)
_FETCH_ARTIFACTS: Final = (f"$JS.API.DIRECT.GET.{ART}.s.art.>",)

PERMISSIONS: Final[dict[Role, Permission]] = {
    "agent": Permission(
        (*_ALL_PUB, f"s.bid.*.{ME}", f"s.work.*.{ME}", f"s.offer.{ME}", *_STORE_ARTIFACTS, *_FETCH_ARTIFACTS),
        (*_ALL_SUB, "s.ann.>", f"s.to.{ME}"),
    ),
    "client": Permission((*_ALL_PUB, *_STORE_ARTIFACTS, *_FETCH_ARTIFACTS), (*_ALL_SUB, "s.ev.*")),
    "observer": Permission(_ALL_PUB, (*_ALL_SUB, "s.ev.*", "s.hb.*", "s.offer.*")),
    "coordinator": Permission(
        (
            *_ALL_PUB,
            "s.ann.>",
            "s.to.*",
            "s.ev.*",
            "s.j.*",
            f"$KV.{BOARD}.>",
            *_STORE_ARTIFACTS,
            *_FETCH_ARTIFACTS,
            *_read(CERTS),
            *_read(JOURNAL),
            *_read(_BOARD_KV),
            *(f"$JS.API.STREAM.INFO.{stream}" for stream in (JOURNAL, ART, _BOARD_KV)),
            f"$JS.API.STREAM.PURGE.{ART}",
        ),
        (
            *_ALL_SUB,
            f"s.to.{ME}",
            "s.bid.>",
            "s.work.>",
            "s.hb.*",
            "s.offer.*",
            *(f"s.req.{service}.*" for service in COORDINATOR_SERVICES),
        ),
        answers=True,
    ),
    "enroller": Permission(
        (
            *_ALL_PUB,
            "s.ctl",
            "s.cert.*",
            "s.inv.*",
            "s.burn.*.*",
            f"$KV.{SWARM_BUCKET}.>",
            *_read(CERTS),
            *_read(INVITES),
            *_read(_SWARM_KV),
            *(
                f"$JS.API.STREAM.{verb}.{stream}"
                for verb in ("CREATE", "INFO", "UPDATE")
                for stream in STREAMS
            ),
        ),
        (
            *_ALL_SUB,
            "enroll.charter",
            "enroll.req.*",
            *(f"s.req.{service}.*" for service in ENROLLER_SERVICES),
        ),
        answers=True,
    ),
    "admin": Permission(
        (
            *_ALL_PUB,
            "s.ctl",
            "s.inv.*",
            "s.burn.*.*",
            f"$KV.{SWARM_BUCKET}.halt",
            *_STORE_ARTIFACTS,
            *_FETCH_ARTIFACTS,
            *_read(CERTS),
            *_read(INVITES),
            *_read(_SWARM_KV),
            *(f"$JS.API.STREAM.INFO.{stream}" for stream in STREAMS),
        ),
        (*_ALL_SUB, "s.ev.*", "s.hb.*", "s.offer.*"),
    ),
    "bus": Permission(("$SYS.REQ.SERVER.PING", "$SYS.REQ.SERVER.PING.>"), (f"_I.{ME}.>",)),
    "registrar": Permission(
        ("$SYS.REQ.CLAIMS.UPDATE", "$SYS.REQ.ACCOUNT.*.CLAIMS.LOOKUP", "$SYS.REQ.SERVER.PING.>"),
        (f"_I.{ME}.>",),
    ),
}
"""The whole table. What is not in it is refused by the server."""

_ENROL_SERVICES: Final = ("enroll.charter", "enroll.req.*")

ENROL_PERMISSION: Final = Permission(_ENROL_SERVICES, (f"{ENROL_INBOX}.*",))
"""What somebody without a credential may do."""


def permission_for(role: Role, bus_public: str) -> Permission:
    """The table's row for one member: the template filled in as the server does."""
    row = PERMISSIONS[role]
    return Permission(
        tuple(subject.replace(ME, bus_public) for subject in row.publish),
        tuple(subject.replace(ME, bus_public) for subject in row.subscribe),
        row.answers,
    )


_IN_SYS: Final = frozenset({"bus", "registrar"})


class BusAuthority(BaseModel):
    """The keys and tokens that rule a swarm's bus; lives, mode 0600, on devices that enrol others.

    The accounts' own private keys are not in it, except ENROL's: members are signed by the scoped keys, accounts by an operator signing key.
    `operator_seed` is there only until it has been exported (`without_operator`).
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    name: str
    operator_seed: str | None
    operator_token: str
    signing_seed: str
    sys_public: str
    swarm_public: str
    enrol_seed: str
    role_seeds: dict[str, str]
    revocations: dict[str, int]
    sys_token: str
    swarm_token: str
    enrol_token: str
    sentinel: str

    @property
    def enrol_public(self) -> str:
        """Public key of the ENROL account."""
        return NKey.from_seed(self.enrol_seed).public

    @property
    def account_tokens(self) -> dict[str, str]:
        """Account's public key -> its token, for the server's resolver."""
        return {
            self.sys_public: self.sys_token,
            self.swarm_public: self.swarm_token,
            self.enrol_public: self.enrol_token,
        }

    def without_operator(self) -> BusAuthority:
        """The same without the operator's private key, for daily use once that key has been exported."""
        return self.model_copy(update={"operator_seed": None})

    def mint_user(self, role: Role, bus_public: str, name: str, *, now: float, exp: float | None) -> str:
        """A member's bus credential.

        Args:
            role: which scope signs it, hence what it may do.
            bus_public: the member's public bus key (`U...`).
            name: shown in the server's monitoring; gives no rights.
            now: Unix seconds.
            exp: Unix seconds at which the server drops the connection; None for never.

        Raises:
            TokenRefused: no such role here, or an expiry in the past.
            KeyFormat: `bus_public` is no user key.
        """
        raw_public(bus_public, "U")
        seed = self.role_seeds.get(role)
        if seed is None:
            raise TokenRefused(f"this device cannot sign bus credentials for the role {role!r}")
        if exp is not None and exp <= now:
            raise TokenRefused("a bus credential that has already expired is of no use")
        # A token made in the second of its predecessor's revocation would be void: the server compares whole seconds.
        issued = max(
            now, self.revocations.get(bus_public, -1) + 1, self.revocations.get(bus_jwt.REVOKE_ALL, -1) + 1
        )
        account = self.sys_public if role in _IN_SYS else self.swarm_public
        return bus_jwt.user_token(
            NKey.from_seed(seed), bus_public, name, account=account, now=issued, exp=exp
        )

    def revoke(self, bus_public: str, at: float) -> BusAuthority:
        """The authority with every credential void that was made for `bus_public` up to `at` (Unix seconds).

        Hand `swarm_token` of the result to the servers (`$SYS.REQ.CLAIMS.UPDATE`): they cut the member off within milliseconds.
        """
        if bus_public != bus_jwt.REVOKE_ALL:
            raw_public(bus_public, "U")
        until = max(int(at), self.revocations.get(bus_public, 0))
        return self._with_revocations({**self.revocations, bus_public: until}, at)

    def forgive(self, bus_public: str, at: float) -> BusAuthority:
        """The authority with one revocation dropped, when all credentials that it voids have expired anyway."""
        return self._with_revocations({k: v for k, v in self.revocations.items() if k != bus_public}, at)

    def _with_revocations(self, revocations: dict[str, int], at: float) -> BusAuthority:
        # Servers keep the newest token, by whole seconds: it must never be as old as the one it replaces.
        issued = max(int(at), int(bus_jwt.read_token(self.swarm_token)["iat"]) + 1)
        scopes = {role: NKey.from_seed(seed).public for role, seed in self.role_seeds.items()}
        signer = NKey.from_seed(self.signing_seed)
        token = _swarm_token(signer, self.swarm_public, scopes, now=issued, revocations=revocations)
        return self.model_copy(update={"revocations": revocations, "swarm_token": token})

    def to_json(self) -> str:
        """For a file that only its owner may read (0600)."""
        return self.model_dump_json(indent=1)

    @classmethod
    def from_json(cls, text: str | bytes) -> BusAuthority:
        """Back from `to_json`."""
        return cls.model_validate_json(text)


def _scopes(publics: dict[str, str], *, system: bool) -> list[dict[str, Any]]:
    return [
        bus_jwt.user_scope(
            publics[role],
            role,
            publish=permission.publish,
            subscribe=permission.subscribe,
            respond_s=_REPLY_S if permission.answers else None,
        )
        for role, permission in PERMISSIONS.items()
        if (role in _IN_SYS) is system and role in publics
    ]


def _swarm_token(
    signer: NKey,
    account: str,
    scopes: dict[str, str],
    *,
    now: float,
    revocations: dict[str, int] | None = None,
) -> str:
    exports = [{"name": subject, "subject": subject, "type": "service"} for subject in _ENROL_SERVICES]
    return bus_jwt.account_token(
        signer,
        account,
        "SWARM",
        now=now,
        scopes=_scopes(scopes, system=False),
        jetstream=True,
        exports=exports,
        revocations=revocations,
    )


def found_accounts(name: str, random_bytes: Callable[[int], bytes], now: float) -> BusAuthority:
    """Make the operator, the accounts and every role's signing key of a new swarm.

    Args:
        name: the swarm's name, for people.
        random_bytes: a source of secret randomness (`os.urandom`).
        now: Unix seconds.
    """

    def fresh(kind: Kind) -> NKey:
        return NKey.from_seed_bytes(kind, random_bytes(KEY_BYTES))

    operator, signer = fresh("O"), fresh("O")
    system, swarm, enrol = fresh("A"), fresh("A"), fresh("A")
    role_keys = {role: fresh("A") for role in ROLES}
    publics: dict[str, str] = {role: key.public for role, key in role_keys.items()}
    imports = [
        {"name": subject, "subject": subject, "account": swarm.public, "type": "service"}
        for subject in _ENROL_SERVICES
    ]
    limits = {"subs": 4, "data": -1, "payload": ENROL_PAYLOAD_BYTES}
    sentinel = bus_jwt.user_token(
        enrol,
        fresh("U").public,
        "sentinel",
        account=enrol.public,
        now=now,
        exp=None,
        permissions={
            "pub": {"allow": list(ENROL_PERMISSION.publish)},
            "sub": {"allow": list(ENROL_PERMISSION.subscribe)},
            **limits,
            "bearer_token": True,
            "allowed_connection_types": ["STANDARD"],
        },
    )
    return BusAuthority(
        name=name,
        operator_seed=operator.seed,
        operator_token=bus_jwt.operator_token(
            operator, name, system_account=system.public, signing_keys=[signer.public], now=now
        ),
        signing_seed=signer.seed,
        sys_public=system.public,
        swarm_public=swarm.public,
        enrol_seed=enrol.seed,
        role_seeds={role: key.seed for role, key in role_keys.items()},
        revocations={},
        sys_token=bus_jwt.account_token(
            signer, system.public, "SYS", now=now, scopes=_scopes(publics, system=True)
        ),
        swarm_token=_swarm_token(signer, swarm.public, publics, now=now),
        enrol_token=bus_jwt.account_token(
            signer, enrol.public, "ENROL", now=now, limits=ENROL_LIMITS, imports=imports
        ),
        sentinel=sentinel,
    )
