// A second implementation of the wire, for one purpose: to run protocol/vectors by other means than the first one.
// Plain Node (20 or later), nothing but what Node brings; it decodes msgpack, HPKE and every format by itself, from SPEC.md alone.
// Usage: node check.mjs DIRECTORY. Exit status 0 when every vector gives what it says, 1 otherwise.
// Here: derivations, and the run. The formats themselves are those with which the agent of examples/node-js works.
import fs from "node:fs";
import path from "node:path";
import { openBody, openEnvelope } from "../../../examples/node-js/lib/envelope.mjs";
import { openInvite, proofSeed } from "../../../examples/node-js/lib/invite.mjs";
import { openCertificate, openChain, openHalt, openObject, openRecord, openRequest, openRevocations } from "../../../examples/node-js/lib/membership.mjs";
import { openItems } from "../../../examples/node-js/lib/messages.mjs";
import { encode } from "../../../examples/node-js/lib/pack.mjs";
import { Refused, cat, checkKey, decode, hex, holds, keyId, need, plain, refuse, sha, signer, unseal } from "../../../examples/node-js/lib/wire.mjs";

const chainOf = (given) => openChain(given.chain.map(hex), hex(given.swarm_id));
function judged(raw, given) {
  const members = new Map(given.members.map((member) => [member.sender, member]));
  openEnvelope(raw, {
    swarm8: hex(given.swarm8), types: new Set(given.types), audience: given.audience, nowMs: given.now_ms, limit: () => 1048576,
    member(head) {
      const member = members.get(head.sender) ?? refuse("E_SENDER");
      need(head.serial === member.serial, "E_REVOKED");
      need(given.now_ms < member.expires_ms, "E_CERT_EXPIRED");
      return { key: hex(member.public_key), clearance: 3, zones: { includes: () => true } };
    },
  });
}
// --- derivations, and which check belongs to which kind of vector ---
const six = (given) => String(sha(hex(given.transcript), hex(given.nonce)).readUInt32BE() % 1000000).padStart(6, "0");
const proofKey = (given) => signer(proofSeed(hex(given.secret), hex(given.swarm_id))).public.toString("hex");
const HASHES = {
  node_id: (g) => sha("swarm-node-id-v1\0", hex(g.public_key)).subarray(0, 16).toString("hex"),
  key_id: (g) => keyId(hex(g.public_key)).toString("hex"),
  audience: (g) => sha("swarm-aud-v1\0", Buffer.from(g.text)).subarray(0, 16).toString("hex"),
  transcript: (g) => sha("swarm-enrol-v1\0", hex(g.swarm_id), hex(g.head), hex(g.body)).toString("hex"),
  check_code: six,
  proof_key: proofKey,
};
const parts = (given) => (typeof given === "string" ? hex(given) : cat(...given.map(([part, times]) => hex(part.repeat(times)))));
// What was decoded is also written and read again, so that the encoder is held to the same vectors.
const again = (value) => decode(encode(value));
const KINDS = {
  envelope: (g) => judged(parts(g.hex), g),
  invite: (g) => openInvite(g.text),
  body: (g) => ({ value: plain(again(decode(hex(g.hex)))) }),
  key: (g) => checkKey(hex(g.public_key)),
  sealed: (g) => ({ plaintext: unseal(hex(g.private_key), hex(g.sealed), hex(g.info)).toString("hex") }),
  "sealed-envelope": (g) => ({ plaintext: openBody(hex(g.hex), { flags: 1 }, hex(g.private_key)).toString("hex") }),
  object: (g) => void openObject(hex(g.hex), g.object_kind, hex(g.public_key)),
  charter: (g) => void chainOf(g),
  certificate: (g) => void openCertificate(hex(g.hex), chainOf(g), BigInt(g.now_s)),
  halt: (g) => void openHalt(hex(g.hex), hex(g.certificate), chainOf(g)),
  "invite-record": (g) => openRecord(hex(g.hex), chainOf(g), BigInt(g.issued_s)),
  message: (g) => ({ items: openItems(g.type, hex(g.hex)).length }),
  revocations: (g) => void openRevocations(hex(g.hex), chainOf(g)),
  "enrol-request": (g) => openRequest(hex(g.hex), chainOf(g), hex(g.box_private_key), hex(g.proof_pub)),
};
function run({ kind, given }) {
  if (kind === "signature") return { holds: holds(hex(given.public_key), hex(given.signature), hex(given.message)) };
  if (kind === "hash") return { value: HASHES[given.what](given) };
  try { return { code: "OK", ...KINDS[kind](given) }; } catch (error) {
    if (error instanceof Refused) return { code: error.message };
    throw error;
  }
}
const sorted = (value) => (value && typeof value === "object" && !Array.isArray(value)
  ? Object.fromEntries(Object.keys(value).sort().map((key) => [key, sorted(value[key])])) : Array.isArray(value) ? value.map(sorted) : value);
const root = process.argv[2] ?? "protocol/vectors";
let checked = 0, wrong = 0;
for (const file of fs.readdirSync(root, { recursive: true }).filter((entry) => entry.endsWith(".json")).sort()) {
  const vector = JSON.parse(fs.readFileSync(path.join(root, file), "utf8"));
  const got = JSON.stringify(sorted(run(vector))), wanted = JSON.stringify(sorted(vector.expect));
  checked++;
  if (got !== wanted) { wrong++; console.log(`${vector.id}: ${got} instead of ${wanted}`); }
}
console.log(`${checked} vectors, ${wrong} wrong`);
process.exit(wrong || !checked ? 1 : 0);
