"""The cases of keys, signatures, derived values and sealing. Codes are stated by hand, from SPEC."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from .build import (
    AUDIENCE,
    BASE,
    NODE,
    NODE_BOX,
    OTHER,
    SWARM_ID,
    TORSION,
    Box,
    Case,
    Env,
    L,
    add,
    audience_hash,
    encode_point,
    hand_sign,
    hpke_seal,
    mul,
    scalar,
    seed,
    sha,
)


def keys() -> Iterator[Case]:
    def key(name: str, code: str, comment: str, public: bytes) -> Case:
        return Case("key", name, "KEY-2", comment, {"public_key": public.hex()}, {"code": code})

    yield key("ok", "OK", "An ordinary key.", NODE.public)
    yield key("ok-other", "OK", "Another.", OTHER.public)
    mixed = encode_point(add(mul(scalar("mixed"), BASE), TORSION))
    yield key(
        "ok-mixed-order",
        "OK",
        "A point with a small-order part is neither of small order nor non-canonical.",
        mixed,
    )
    small = {encode_point(mul(i, TORSION)) for i in range(8)}
    for number, point in enumerate(sorted(small)):
        yield key(f"e-small-{number}", "E_KEY", "A point of small order.", point)
    p = 2**255 - 19
    for name, y in (("p", p), ("p1", p + 1), ("p3", p + 3), ("max", 2**255 - 1)):
        yield key(f"e-noncanonical-{name}", "E_KEY", "y is not below p.", y.to_bytes(32, "little"))
    yield key(
        "e-noncanonical-sign-1",
        "E_KEY",
        "y = 1 with the sign of zero set.",
        (1 | 1 << 255).to_bytes(32, "little"),
    )
    yield key(
        "e-noncanonical-sign-m1",
        "E_KEY",
        "y = -1 with the sign of zero set.",
        (p - 1 | 1 << 255).to_bytes(32, "little"),
    )
    yield key("e-no-point", "E_KEY", "No point of the curve has y = 2.", (2).to_bytes(32, "little"))
    yield key("e-short", "E_KEY", "31 bytes.", NODE.public[:31])
    yield key("e-long", "E_KEY", "33 bytes.", NODE.public + b"\0")
    yield key("e-none", "E_KEY", "No bytes.", b"")


def signatures() -> Iterator[Case]:
    def signature(
        name: str, holds: bool, clause: str, comment: str, public: bytes, data: bytes, sig: bytes
    ) -> Case:
        given = {"public_key": public.hex(), "message": data.hex(), "signature": sig.hex()}
        return Case("signature", name, clause, comment, given, {"holds": holds})

    data = b"what is signed"
    good = NODE.sign(data)
    yield signature("ok", True, "KEY-1", "An ordinary signature.", NODE.public, data, good)
    yield signature("ok-empty", True, "KEY-1", "Of no bytes.", NODE.public, b"", NODE.sign(b""))
    yield signature("bad-message", False, "KEY-1", "Of another message.", NODE.public, data + b"!", good)
    yield signature("bad-key", False, "KEY-1", "Of another key.", OTHER.public, data, good)
    s = int.from_bytes(good[32:], "little")
    yield signature(
        "bad-s-plus-l",
        False,
        "KEY-1",
        "S + L.",
        NODE.public,
        data,
        good[:32] + (s + L).to_bytes(32, "little"),
    )
    secret, nonce = scalar("hand secret"), scalar("hand nonce")
    public, r = encode_point(mul(secret, BASE)), mul(nonce, BASE)
    yield signature(
        "ok-by-hand",
        True,
        "KEY-1",
        "Made by hand, as the next ones.",
        public,
        data,
        hand_sign(secret, public, nonce, r, data),
    )
    yield signature(
        "bad-r-torsion",
        False,
        "KEY-1",
        "Holds only with the cofactor.",
        public,
        data,
        hand_sign(secret, public, nonce, add(r, TORSION), data),
    )
    yield signature(
        "bad-r-neutral",
        False,
        "KEY-3",
        "Holds, but R is the neutral element.",
        public,
        data,
        hand_sign(secret, public, 0, (0, 1), data),
    )
    mixed = encode_point(add(mul(secret, BASE), TORSION))
    found: dict[bool, bytes] = {}
    for number in range(64):
        text = b"message %d" % number
        sig = hand_sign(secret, mixed, nonce, r, text)
        k = int.from_bytes(hashlib.sha512(sig[:32] + mixed + text).digest(), "little") % L
        found.setdefault(k % 8 == 0, text)
    yield signature(
        "ok-mixed-key",
        True,
        "KEY-1",
        "A key with a small-order part; the plain equation holds.",
        mixed,
        found[True],
        hand_sign(secret, mixed, nonce, r, found[True]),
    )
    yield signature(
        "bad-mixed-key",
        False,
        "KEY-1",
        "The same key; only the equation with the cofactor holds.",
        mixed,
        found[False],
        hand_sign(secret, mixed, nonce, r, found[False]),
    )
    yield signature("bad-length", False, "KEY-1", "63 bytes.", NODE.public, data, good[:63])


def hashes() -> Iterator[Case]:
    def derived(
        name: str, clause: str, comment: str, what: str, given: dict[str, Any], out: bytes | str
    ) -> Case:
        return Case(
            "hash",
            name,
            clause,
            comment,
            {"what": what, **given},
            {"value": out.hex() if isinstance(out, bytes) else out},
        )

    yield derived("node-id", "ENV-5", "A node's id.", "node_id", {"public_key": NODE.public.hex()}, NODE.node)
    yield derived(
        "key-id", "KEY-4", "A signing key's id.", "key_id", {"public_key": NODE.public.hex()}, NODE.id
    )
    for name, text in (
        ("bids", AUDIENCE),
        ("presence", "swarm/presence"),
        ("node", "node/" + NODE.node.hex()),
        ("capability", "cap/text.summarize"),
    ):
        yield derived(
            f"audience-{name}", "ENV-6", "An audience.", "audience", {"text": text}, audience_hash(text)
        )
    transcript = sha(b"swarm-enrol-v1\0", SWARM_ID, sha(b"head"), b"body")
    yield derived(
        "transcript",
        "ENR-3",
        "An enrolment's transcript.",
        "transcript",
        {"swarm_id": SWARM_ID.hex(), "head": sha(b"head").hex(), "body": b"body".hex()},
        transcript,
    )
    for name in ("one", "two", "three"):
        nonce = seed("nonce " + name)[:16]
        code = f"{int.from_bytes(sha(transcript, nonce)[:4], 'big') % 1_000_000:06d}"
        yield derived(
            f"check-code-{name}",
            "ENR-6",
            "Six digits.",
            "check_code",
            {"transcript": transcript.hex(), "nonce": nonce.hex()},
            code,
        )
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    secret = seed("invite secret")[:16]
    proof = HKDF(SHA256(), 32, SWARM_ID, b"swarm-invite-v1 proof").derive(secret)
    public = Ed25519PrivateKey.from_private_bytes(proof).public_key().public_bytes_raw()
    yield derived(
        "proof-key",
        "INV-6",
        "The public key that belongs to an invite's secret.",
        "proof_key",
        {"secret": secret.hex(), "swarm_id": SWARM_ID.hex()},
        public,
    )


def sealed() -> Iterator[Case]:
    def case(
        name: str,
        code: str,
        comment: str,
        sealed: bytes,
        info: bytes,
        plain: bytes = b"",
        clause: str = "SEAL-1",
    ) -> Case:
        expect = {"code": code, "plaintext": plain.hex()} if code == "OK" else {"code": code}
        given = {"private_key": NODE_BOX.seed.hex(), "sealed": sealed.hex(), "info": info.hex()}
        return Case("sealed", name, clause, comment, given, expect)

    plain, info = b"for one node", b"swarm-box-v1" + bytes(106)
    good = hpke_seal(NODE_BOX.public, plain, info, Box("ephemeral"))
    yield case("ok", "OK", "Sealed to this key.", good, info, plain)
    yield case(
        "ok-empty", "OK", "Nothing, sealed.", hpke_seal(NODE_BOX.public, b"", info, Box("ephemeral 2")), info
    )
    yield case("e-info", "E_DECRYPT", "For another place.", good, info + b"\0")
    yield case(
        "e-key",
        "E_DECRYPT",
        "For another key.",
        hpke_seal(Box("else").public, plain, info, Box("ephemeral")),
        info,
    )
    yield case("e-bit", "E_DECRYPT", "One bit of the ciphertext.", good[:-1] + bytes([good[-1] ^ 1]), info)
    yield case(
        "e-enc", "E_DECRYPT", "One bit of the encapsulated key.", bytes([good[0] ^ 1]) + good[1:], info
    )
    yield case("e-cut", "E_DECRYPT", "Cut off.", good[:47], info)
    yield case(
        "e-small-order", "E_DECRYPT", "An encapsulated key of small order.", bytes(32) + good[32:], info
    )
    header = Env(flags=1, length=len(plain) + 48).header()
    raw_body = hpke_seal(NODE_BOX.public, plain, b"swarm-box-v1" + header[:106], Box("ephemeral 3"))
    yield Case(
        "sealed-envelope",
        "ok",
        "ENV-8",
        "The body of an envelope, bound to its header.",
        {"private_key": NODE_BOX.seed.hex(), "hex": Env(flags=1, body=raw_body).raw().hex()},
        {"code": "OK", "plaintext": plain.hex()},
    )
    moved = Env(flags=1, body=raw_body, sender=OTHER.node, key=OTHER, serial=b"serial02").raw()
    yield Case(
        "sealed-envelope",
        "e-moved",
        "ENV-8",
        "The same body, signed again by another member.",
        {"private_key": NODE_BOX.seed.hex(), "hex": moved.hex()},
        {"code": "E_DECRYPT"},
    )


def all_cases() -> Iterator[Case]:
    yield from keys()
    yield from signatures()
    yield from hashes()
    yield from sealed()
