// A second implementation of the wire, for one purpose: to run protocol/vectors by other means than the first one.
// Plain Node (20 or later), nothing but what Node brings; it decodes msgpack, HPKE and every format by itself, from SPEC.md alone.
// Usage: node check.mjs DIRECTORY. Exit status 0 when every vector gives what it says, 1 otherwise.
// Here: envelopes and invites (ENV, INV), derivations, the run. Beside it: wire, fields, messages, membership.
import crypto from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { chainOf, openCertificate, openHalt, openObject, openRecord, openRequest, openRevocations } from "./membership.mjs";
import { openMessage } from "./messages.mjs";
import { Refused, asKey, cat, checkKey, decode, hex, holds, keyId, need, plain, same, sha, unseal } from "./wire.mjs";

function openEnvelope(raw, given) {
  const members = new Map(given.members.map((member) => [member.sender, member]));
  const u64 = (at) => raw.readBigUInt64BE(at), now = BigInt(given.now_ms);
  need(raw.length >= 174, "E_SHORT");
  need(raw.length <= 1048576, "E_LONG");
  need(raw.readUInt16BE() === 0xc153, "E_MAGIC");
  need(raw[2] === 1, "E_VERSION");
  need(raw[3] < 16, "E_FLAGS");
  need(raw[7] === 0, "E_RESERVED");
  need(raw.subarray(14, 22).toString("hex") === given.swarm8, "E_SWARM");
  need(given.types.includes(raw.readUInt16BE(4)) && !(raw[3] & 8), "E_TYPE");
  need(same(raw.subarray(74, 90), sha("swarm-aud-v1\0", Buffer.from(given.audience)).subarray(0, 16)), "E_AUD");
  need(raw.readUInt32BE(106) + 174 === raw.length, "E_LEN");
  const ttl = raw.readUInt32BE(70), age = now - u64(62);
  need(ttl <= 600 && age <= BigInt(ttl) * 1000n + 30000n && age >= -30000n, "E_TIME");
  const member = members.get(raw.subarray(22, 38).toString("hex"));
  need(member, "E_SENDER");
  need(raw.subarray(38, 46).toString("hex") === member.serial, "E_REVOKED");
  need(given.now_ms < member.expires_ms, "E_CERT_EXPIRED");
  need(raw[6] < 2, "E_CLASS");
  need(u64(54) > 0n, "E_REPLAY");
  need(holds(hex(member.public_key), raw.subarray(-64), cat("\xffswarm-env-v1\0\0\0", raw.subarray(0, -64))), "E_SIG");
}
const ALPHABET = "abcdefghijklmnopqrstuvwxyz234567";
function openInvite(given) {
  const text = given.replace(/[ \t\r\n\v\f-]/g, "").replace(/[A-Z]/g, (letter) => letter.toLowerCase());
  need(text.startsWith("swarm1"), "E_PREFIX");
  const coded = text.slice(6);
  need(coded.length >= 133 && coded.length <= 1639 && ![1, 3, 6].includes(coded.length % 8), "E_LEN");
  let bits = 0n;
  for (const letter of coded) { const digit = ALPHABET.indexOf(letter); need(digit >= 0, "E_B32"); bits = (bits << 5n) | BigInt(digit); }
  const spare = BigInt((coded.length * 5) % 8), size = Math.floor((coded.length * 5) / 8);
  need((bits & ((1n << spare) - 1n)) === 0n, "E_B32_NONCANONICAL");
  const raw = hex((bits >> spare).toString(16).padStart(size * 2, "0")), data = raw.subarray(0, -4);
  need(same(sha("swarm-invite-v1\0", data).subarray(0, 4), raw.subarray(-4)), "E_CHECKSUM");
  need(raw[0] === 1, "E_VERSION");
  need(raw[1] < 16, "E_FLAGS");
  const endpoints = [];
  let at = 79;
  for (let i = 0; i < raw[78]; i++) {
    need(at + 2 <= data.length && at + 2 + data[at + 1] <= data.length, "E_TRUNC");
    const type = data[at], content = data.subarray(at + 2, at + 2 + data[at + 1]);
    at += 2 + content.length;
    if (type === 1 || type === 2) {
      const width = type === 1 ? 4 : 16;
      need(content.length >= width + 2, "E_TRUNC");
      need(content.length === width + 2, "E_TRAILING");
      const groups = Array.from({ length: width / (type === 1 ? 1 : 2) }, (_, g) => (type === 1 ? content[g] : content.readUInt16BE(2 * g).toString(16)));
      const host = type === 1 ? groups.join(".") : new URL(`http://[${groups.join(":")}]`).hostname.slice(1, -1);
      endpoints.push({ type, host, port: content.readUInt16BE(width) });
    } else if (type === 3) {
      need(content.length >= 3, "E_TRUNC");
      const host = content.subarray(2).toString("latin1");
      if (/^[A-Za-z0-9_][A-Za-z0-9_-]{0,62}(\.[A-Za-z0-9_][A-Za-z0-9_-]{0,62})*\.?$/.test(host)) endpoints.push({ type, host, port: content.readUInt16BE() });
    }
  }
  need(at === data.length, "E_TRAILING");
  const part = (from, to) => raw.subarray(from, to).toString("hex");
  return {
    version: raw[0], flags: raw[1], expiry: raw.readUInt32BE(2), invite_id: part(6, 14), secret: part(14, 30),
    swarm_id: part(30, 62), bus_pin: part(62, 78), endpoints,
  };
}

// --- derivations, and which check belongs to which kind of vector ---
const six = (given) => String(sha(hex(given.transcript), hex(given.nonce)).readUInt32BE() % 1000000).padStart(6, "0");
function proofKey(given) {
  const seed = Buffer.from(crypto.hkdfSync("sha256", hex(given.secret), hex(given.swarm_id), "swarm-invite-v1 proof", 32));
  const key = crypto.createPrivateKey(asKey("302e020100300506032b657004220420", seed, "pkcs8"));
  return crypto.createPublicKey(key).export({ format: "der", type: "spki" }).subarray(12).toString("hex");
}
const HASHES = {
  node_id: (g) => sha("swarm-node-id-v1\0", hex(g.public_key)).subarray(0, 16).toString("hex"),
  key_id: (g) => keyId(hex(g.public_key)).toString("hex"),
  audience: (g) => sha("swarm-aud-v1\0", Buffer.from(g.text)).subarray(0, 16).toString("hex"),
  transcript: (g) => sha("swarm-enrol-v1\0", hex(g.swarm_id), hex(g.head), hex(g.body)).toString("hex"),
  check_code: six,
  proof_key: proofKey,
};
const parts = (given) => (typeof given === "string" ? hex(given) : cat(...given.map(([part, times]) => hex(part.repeat(times)))));
const KINDS = {
  envelope: (g) => openEnvelope(parts(g.hex), g),
  invite: (g) => openInvite(g.text),
  body: (g) => ({ value: plain(decode(hex(g.hex))) }),
  key: (g) => checkKey(hex(g.public_key)),
  sealed: (g) => ({ plaintext: unseal(hex(g.private_key), hex(g.sealed), hex(g.info)).toString("hex") }),
  "sealed-envelope": (g) => ({ plaintext: unseal(hex(g.private_key), hex(g.hex).subarray(110, -64), cat("swarm-box-v1", hex(g.hex).subarray(0, 106))).toString("hex") }),
  object: (g) => void openObject(hex(g.hex), g.object_kind, hex(g.public_key)),
  charter: (g) => void chainOf(g),
  certificate: (g) => void openCertificate(hex(g.hex), chainOf(g), BigInt(g.now_s)),
  halt: (g) => openHalt(hex(g.hex), hex(g.certificate), chainOf(g)),
  "invite-record": (g) => openRecord(hex(g.hex), chainOf(g), BigInt(g.issued_s)),
  message: (g) => openMessage(g.type, hex(g.hex)),
  revocations: (g) => openRevocations(hex(g.hex), chainOf(g)),
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
