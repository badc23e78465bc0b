// A second implementation of the wire, for one purpose: to run protocol/vectors by other means than the first one.
// Plain Node (20 or later), nothing but node:crypto; it decodes msgpack, HPKE and every format by itself, from SPEC.md alone.
// Usage: node check.mjs DIRECTORY. Exit status 0 when every vector gives what it says, 1 otherwise.
import crypto from "node:crypto";
import fs from "node:fs";
import path from "node:path";

class Refused extends Error {}
const refuse = (code) => { throw new Refused(code); };
const need = (condition, code) => { if (!condition) refuse(code); };
const hex = (text) => Buffer.from(text, "hex");
const cat = (...parts) => Buffer.concat(parts.map((part) => (typeof part === "string" ? Buffer.from(part, "latin1") : part)));
const sha = (...parts) => crypto.createHash("sha256").update(cat(...parts)).digest();
const same = (a, b) => Buffer.compare(a, b) === 0;

// --- keys and signatures (KEY) ---
const P = 2n ** 255n - 19n;
const power = (base, exponent) => {
  let result = 1n;
  for (base %= P; exponent > 0n; exponent >>= 1n, base = (base * base) % P) if (exponent & 1n) result = (result * base) % P;
  return result;
};
const D = ((P - 121665n) * power(121666n, P - 2n)) % P;
const little = (bytes) => BigInt("0x" + Buffer.from(bytes).reverse().toString("hex"));
const ORDER8 = [2707385501144840649318225287225658788936804267575313519463743609750303402022n];
ORDER8.push(P - ORDER8[0]);
const SMALL_Y = new Set([0n, 1n, P - 1n, ...ORDER8]);
const smallOrder = (bytes) => SMALL_Y.has(little(bytes) & ((1n << 255n) - 1n));
function checkKey(key) {
  need(key.length === 32, "E_KEY");
  const y = little(key) & ((1n << 255n) - 1n);
  need(y < P && !SMALL_Y.has(y), "E_KEY"); // x = 0 only for y = 1 and y = -1, so a wrong sign of zero is caught as well
  const y2 = (y * y) % P;
  need(power(((y2 - 1n + P) % P) * ((D * y2 + 1n) % P), (P - 1n) / 2n) === 1n, "E_KEY");
}
const asKey = (prefix, key, type) => ({ key: cat(hex(prefix), key), format: "der", type });
function holds(key, signature, data) {
  if (signature.length !== 64 || smallOrder(signature.subarray(0, 32))) return false;
  return crypto.verify(null, data, crypto.createPublicKey(asKey("302a300506032b6570032100", key, "spki")), signature);
}
const keyId = (key) => sha("swarm-key-id-v1\0", key).subarray(0, 16);

// --- sealing (SEAL): HPKE base mode, X25519, HKDF-SHA256, ChaCha20-Poly1305 ---
const xPublic = (key) => crypto.createPublicKey(asKey("302a300506032b656e032100", key, "spki"));
const xPrivate = (seed) => crypto.createPrivateKey(asKey("302e020100300506032b656e04220420", seed, "pkcs8"));
const exchange = (seed, key) => crypto.diffieHellman({ privateKey: xPrivate(seed), publicKey: xPublic(key) });
const mac = (key, ...parts) => crypto.createHmac("sha256", key).update(cat(...parts)).digest();
const KEM = "KEM\x00\x20", SUITE = "HPKE\x00\x20\x00\x01\x00\x03";
const extract = (salt, suite, label, ikm) => mac(salt.length ? salt : Buffer.alloc(32), "HPKE-v1", suite, label, ikm);
const expand = (prk, suite, label, info, size) => mac(prk, Buffer.from([0, size]), "HPKE-v1", suite, label, info, "\x01").subarray(0, size);
function checkBox(key) {
  need(key.length === 32, "E_KEY");
  try { exchange(Buffer.alloc(32, 1), key); } catch { refuse("E_KEY"); }
}
function unseal(seed, sealed, info) {
  try {
    const enc = sealed.subarray(0, 32);
    const own = crypto.createPublicKey(xPrivate(seed)).export({ format: "der", type: "spki" }).subarray(12);
    const shared = expand(extract("", KEM, "eae_prk", exchange(seed, enc)), KEM, "shared_secret", cat(enc, own), 32);
    const context = cat("\0", extract("", SUITE, "psk_id_hash", ""), extract("", SUITE, "info_hash", info));
    const secret = extract(shared, SUITE, "secret", "");
    const options = { authTagLength: 16 };
    const open = crypto.createDecipheriv("chacha20-poly1305", expand(secret, SUITE, "key", context, 32), expand(secret, SUITE, "base_nonce", context, 12), options);
    open.setAuthTag(sealed.subarray(-16));
    return cat(open.update(sealed.subarray(32, -16)), open.final());
  } catch { return refuse("E_DECRYPT"); }
}

// --- bodies (BODY): integers as BigInt, floats as Number, bytes as Buffer, maps as Map ---
function decode(data, most = 10000) {
  let at = 0, nodes = 0;
  const bad = (condition) => need(!condition, "E_BODY");
  const take = (size) => { bad(at + size > data.length); at += size; return data.subarray(at - size, at); };
  const number = (size) => BigInt("0x" + take(size).toString("hex"));
  const text = (size) => { try { return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(take(size)); } catch { return refuse("E_BODY"); } };
  const finite = (value) => { bad(!Number.isFinite(value)); return value; };
  function list(count, depth) { bad(count > 4096 || depth > 16); return Array.from({ length: count }, () => value(depth)); }
  function map(count, depth) {
    bad(count > 256 || depth > 16);
    const made = new Map();
    for (let i = 0; i < count; i++) {
      const head = data[at];
      bad(!((head >= 0xa0 && head <= 0xbf) || (head >= 0xd9 && head <= 0xdb)));
      nodes--; // keys are not counted
      const key = value(depth);
      bad(made.has(key));
      made.set(key, value(depth));
    }
    return made;
  }
  function value(depth) {
    bad(++nodes > most);
    const head = take(1)[0];
    if (head <= 0x7f) return BigInt(head);
    if (head <= 0x8f) return map(head & 15, depth + 1);
    if (head <= 0x9f) return list(head & 15, depth + 1);
    if (head <= 0xbf) return text(head & 31);
    if (head >= 0xe0) return BigInt(head - 256);
    const width = 1 << ((head - 0xc4) % 3); // bin and str lengths
    switch (head) {
      case 0xc0: return null;
      case 0xc2: return false;
      case 0xc3: return true;
      case 0xc4: case 0xc5: case 0xc6: return take(Number(number(width)));
      case 0xca: return finite(take(4).readFloatBE());
      case 0xcb: return finite(take(8).readDoubleBE());
      case 0xcc: case 0xcd: case 0xce: return number(1 << (head - 0xcc));
      case 0xcf: { const big = number(8); bad(big >= 2n ** 63n); return big; }
      case 0xd0: case 0xd1: case 0xd2: case 0xd3: { const size = 1 << (head - 0xd0); return BigInt.asIntN(8 * size, number(size)); }
      case 0xd9: case 0xda: case 0xdb: return text(Number(number(1 << (head - 0xd9))));
      case 0xdc: case 0xdd: return list(Number(number(head === 0xdc ? 2 : 4)), depth + 1);
      case 0xde: case 0xdf: return map(Number(number(head === 0xde ? 2 : 4)), depth + 1);
      default: return refuse("E_BODY"); // 0xC1 and extension types
    }
  }
  const result = value(0);
  bad(at !== data.length);
  return result;
}
function plain(value) {
  if (Buffer.isBuffer(value)) return { $hex: value.toString("hex") };
  if (typeof value === "number") { const bytes = Buffer.alloc(8); bytes.writeDoubleBE(value); return { $float: bytes.toString("hex") }; }
  if (typeof value === "bigint") return value > 2n ** 53n || value < -(2n ** 53n) ? { $int: String(value) } : Number(value);
  if (Array.isArray(value)) return value.map(plain);
  return value instanceof Map ? Object.fromEntries([...value].map(([key, item]) => [key, plain(item)])) : value;
}

// --- schemas (BODY-7): a field is a predicate; a map has exactly its fields ---
const bytes = (size) => (v) => Buffer.isBuffer(v) && v.length === size;
const int = (low, high) => (v) => typeof v === "bigint" && v >= BigInt(low) && v <= BigInt(high);
const matching = (pattern) => (v) => typeof v === "string" && pattern.test(v);
const listOf = (item, low, high) => (v) => Array.isArray(v) && v.length >= low && v.length <= high && v.every(item);
const distinct = (list) => new Set(list.map((v) => (Buffer.isBuffer(v) ? v.toString("hex") : v))).size === list.length;
const set = (item, low, high) => (v) => listOf(item, low, high)(v) && distinct(v);
const bool = (v) => typeof v === "boolean";
const seconds = int(0, 0xffffffff);
const name = (v) => typeof v === "string" && [...v].length >= 1 && [...v].length <= 64 && !/[.*>/\\"'`$\p{C}\p{Z}]/u.test(v);
const ROLES = ["agent", "coordinator", "client", "bus", "enroller", "admin", "observer", "keyholder", "declassifier"];
const roles = set((v) => ROLES.includes(v), 1, 16);
const zones = set(int(1, 65535), 0, 256);
const caps = set((v) => matching(/^[a-z][a-z0-9-]*(\.[a-z0-9][a-z0-9-]*){0,5}$/)(v) && v.length <= 64, 0, 64);
const fine = (check) => (v) => { try { check(v); return true; } catch { return false; } };
const signKey = (v) => Buffer.isBuffer(v) && fine(checkKey)(v);
const boxKey = (v) => Buffer.isBuffer(v) && fine(checkBox)(v);
const fits = (schema, v) => v instanceof Map && v.size === Object.keys(schema).length && Object.entries(schema).every(([key, test]) => v.has(key) && test(v.get(key)));
const read = (schema, body) => { const v = decode(body); need(fits(schema, v), "E_SCHEMA"); return Object.fromEntries(v); };
const issuerSchema = { pub: signKey, box: boxKey, roles, zones, max_ttl: int(60, 7776000), exp: seconds };
const busSchema = { url: matching(/^tls:\/\/[A-Za-z0-9.:[\]_-]{1,262}$/), ca_spki: bytes(32) };
const charterSchema = {
  v: int(1, 1), name, n: int(0, 4095), prev: bytes(32), roots: listOf(signKey, 1, 16), k: int(1, 16),
  issuers: listOf((v) => fits(issuerSchema, v), 0, 64), bus: listOf((v) => fits(busSchema, v), 0, 16), zones: listOf(name, 0, 256),
  policy: (v) => v instanceof Map, not_before_issue: (v) => v instanceof Map && [...v].every(([k, t]) => /^[0-9a-f]{32}$/.test(k) && seconds(t)),
};
const certificateSchema = {
  v: int(1, 1), sw: bytes(32), ser: bytes(8), sig: bytes(32), box: bytes(32), bus: bytes(32), nm: name, ro: roles, cap: caps, zn: zones,
  cl: int(0, 3), nbf: seconds, exp: seconds, inv: bytes(8), iss: bytes(16), ch: (v) => typeof v === "bigint" && v >= 0n,
};
const recordSchema = {
  id: bytes(8), proof_pub: bytes(32), roles, caps, zone: zones, clearance: int(0, 3), max_uses: int(1, 1000), exp: seconds,
  approval: bool, ephemeral: bool, label: (v) => typeof v === "string" && [...v].length <= 64, by: bytes(16),
};
const requestSchema = { v: int(1, 1), id: bytes(8), sig_pub: bytes(32), box_pub: bytes(32), bus_pub: bytes(32), name, asked_caps: caps, nonce: bytes(16), ts: seconds };

// --- messages and records (MSG, REC, REV): the tables of SPEC.md are the schema ---
const spec = fs.readFileSync(new URL("../../protocol/SPEC.md", import.meta.url), "utf8");
function rows(title, head) {
  const lines = spec.split(`\n${title}\n`)[1].split("\n");
  const from = lines.findIndex((line) => line.startsWith(`| ${head} |`)) + 2;
  return lines.slice(from, lines.findIndex((line, at) => at >= from && !line.startsWith("|"))).map((line) => line.split("|").slice(1, -1).map((cell) => cell.trim()));
}
const count = (text) => { const [base, power] = text.replaceAll(",", "").split("^"); return BigInt(base) ** BigInt(power ?? 1); };
const words = new Map(rows("### Fields", "word").map(([word, meaning]) => [word, meaning]));
const layouts = new Map();
for (const [title, head] of [["### Fields", "item"], ["## Records", "record"], ["## Revocations", "item"], ["## Halts", "item"]])
  for (const [name, fields] of rows(title, head))
    layouts.set(name, fields === "none" ? [] : fields.split("; ").map((part) => {
      const [, key, type, fallback] = part.match(/^(\w+): (.+?)(?: = (.+))?$/);
      return { key, test: tester(type), required: fallback === undefined };
    }));
function holdsItem(name, v, also = []) {
  if (!(v instanceof Map)) return false;
  const fields = layouts.get(name);
  return [...v.keys()].every((key) => also.includes(key) || fields.some((field) => field.key === key))
    && fields.every(({ key, test, required }) => (v.has(key) ? test(v.get(key)) : !required));
}
const free = (v) => (Array.isArray(v) ? v.every(free) : v instanceof Map ? [...v.values()].every(free) : !Buffer.isBuffer(v));
function tester(type) {
  if (type.endsWith(" or nil")) { const test = tester(type.slice(0, -7)); return (v) => v === null || test(v); }
  if (words.has(type)) {
    const [, pattern, most] = words.get(type).match(/^`(.+)`(?: up to (\d+))?$/) ?? [];
    if (!pattern) return tester(words.get(type));
    return (v) => matching(new RegExp(`^(?:${pattern})$`))(v) && v.length <= Number(most ?? 1e6);
  }
  if (type.startsWith("one of ")) { const choices = type.slice(7).split(", "); return (v) => choices.includes(v); }
  if (type === "bool") return bool;
  if (type === "object") return (v) => v instanceof Map && free(v);
  const [, kind, low, high, inner] = type.match(/^(int|float|str|bin|list|map)(?: ([\d,^]+)(?:\.\.([\d,^]+))?)?(?: of (.+))?$/) ?? [];
  const from = low && count(low), to = high ? count(high) : from;
  const fitting = (size) => from === undefined || (BigInt(size) >= from && BigInt(size) <= to);
  const item = inner && tester(inner);
  switch (kind) {
    case "int": return (v) => typeof v === "bigint" && fitting(v);
    case "float": return (v) => ["number", "bigint"].includes(typeof v) && (from === undefined || (v >= Number(from) && v <= Number(to)));
    case "str": return (v) => typeof v === "string" && fitting([...v].length);
    case "bin": return (v) => Buffer.isBuffer(v) && fitting(v.length);
    case "list": return (v) => Array.isArray(v) && fitting(v.length) && v.every(item);
    case "map": return (v) => v instanceof Map && fitting(v.size) && [...v.values()].every(item);
    default: return (v) => holdsItem(type, v);
  }
}
const kinds = new Map(rows("### Types", "code").map(([code, name, , , , values]) => [parseInt(code, 16), { name, values: Number(count(values)) }]));
function openMessage(type, data) {
  const { name, values } = kinds.get(type), body = decode(data, values);
  const alone = type > 0x300 && type <= 0x380;
  const one = name !== "journal" ? (v) => holdsItem(name, v)
    : (v) => v instanceof Map && layouts.has(v.get("k")) && tester("Time")(v.get("at_ms")) && holdsItem(v.get("k"), v, ["k", "at_ms"]);
  need(listOf(one, 1, alone ? 1 : name === "journal" ? 256 : 250)(body), "E_SCHEMA");
  return { items: body.length };
}

// --- objects, charters, certificates, invite records, enrolment (OBJ, CHA, CERT, INV-7, ENR) ---
const OBJECT = "\xffswarm-obj-v1\0";
function frame(raw) {
  need(raw.length >= 88, "E_SHORT");
  need(raw.readUInt16BE() === 0xc14f, "E_MAGIC");
  need(raw[2] === 1, "E_VERSION");
  need(raw[3] >= 1 && raw[3] <= 9, "E_TYPE");
  const length = raw.readUInt32BE(20);
  need(length <= 262144, "E_LONG");
  need(24 + length <= raw.length, "E_LEN");
  return { kind: raw[3], issuer: raw.subarray(4, 20), body: raw.subarray(24, 24 + length), end: 24 + length };
}
function openObject(raw, kind, key) {
  const head = frame(raw);
  need(head.kind === kind, "E_TYPE");
  need(head.end + 64 === raw.length, "E_LEN");
  need(same(head.issuer, keyId(key)), "E_ISSUER");
  need(holds(key, raw.subarray(head.end), cat(OBJECT, raw.subarray(0, head.end))), "E_SIG");
  return head.body;
}
function openCharter(raw, before) {
  const head = frame(raw);
  need(head.kind === 1, "E_TYPE");
  need(same(head.issuer, Buffer.alloc(16)), "E_ISSUER");
  need(raw.length > head.end && raw.length === head.end + 1 + 80 * raw[head.end], "E_LEN");
  need(raw[head.end] <= 64, "E_LONG");
  return {
    body: head.body,
    check(fields) {
      const signers = new Set();
      for (let at = head.end + 1; at < raw.length; at += 80) {
        const root = [...fields.roots, ...(before?.roots ?? [])].find((key) => same(keyId(key), raw.subarray(at, at + 16)));
        need(root, "E_ISSUER");
        need(holds(root, raw.subarray(at + 16, at + 80), cat(OBJECT, raw.subarray(0, head.end))), "E_SIG");
        signers.add(root.toString("hex"));
      }
      for (const charter of [fields, before])
        if (charter) need(charter.roots.filter((root) => signers.has(root.toString("hex"))).length >= charter.k, "E_THRESHOLD");
    },
  };
}
function openChain(chain, swarmId) {
  need(chain.length > 0, "E_CHAIN");
  let before, prev = Buffer.alloc(32);
  const issuers = new Map();
  chain.forEach((raw, n) => {
    const charter = openCharter(raw, before);
    if (n === 0) need(same(sha("swarm-charter-v1\0", charter.body), swarmId), "E_SWARM");
    const fields = read(charterSchema, charter.body);
    const own = fields.issuers.map((issuer) => Object.fromEntries(issuer));
    need(distinct(fields.roots) && fields.k <= fields.roots.length && distinct(own.map((i) => i.pub)) && distinct(fields.zones), "E_SCHEMA");
    need(own.every((i) => i.zones.every((zone) => zone <= fields.zones.length)), "E_SCHEMA");
    need(fields.n === BigInt(n) && same(fields.prev, prev), "E_CHAIN");
    charter.check(fields);
    for (const issuer of own) issuers.set(keyId(issuer.pub).toString("hex"), issuer);
    [before, prev] = [{ ...fields, own }, sha(charter.body)];
  });
  function grant(id, issued) {
    const found = issuers.get(id.toString("hex"));
    need(found, "E_ISSUER");
    const from = before.not_before_issue.get(id.toString("hex"));
    need(from === undefined ? before.own.some((i) => same(i.pub, found.pub)) : issued < from, "E_ISSUER");
    need(issued < found.exp, "E_ISSUER");
    return found;
  }
  const key = (id) => issuers.get(id.toString("hex"))?.pub ?? refuse("E_ISSUER");
  return { grant, key, swarmId, hash: prev };
}
function openRevocations(raw, charter) {
  const head = frame(raw);
  need(head.kind === 3, "E_TYPE");
  const list = decode(openObject(raw, 3, charter.key(head.issuer)), 30000);
  need(holdsItem("Revocations", list), "E_SCHEMA");
  const wide = (entry) => ["node", "issuer"].includes(entry.get("kind"));
  need(list.get("revoked").every((entry) => entry.get("id").length === (wide(entry) ? 16 : 8)), "E_SCHEMA");
  charter.grant(head.issuer, list.get("issued"));
}
const within = (some, all) => some.every((item) => all.includes(item));
const chainOf = (given) => openChain(given.chain.map(hex), hex(given.swarm_id));
function openHalt(raw, certificate, charter) {
  const by = openCertificate(certificate, charter, null);
  const order = decode(openObject(raw, 8, by.sig));
  need(holdsItem("Halt order", order), "E_SCHEMA");
  need(same(order.get("swarm"), charter.swarmId), "E_SWARM");
  inItsTime(by, order.get("at"));
  need(by.ro.includes("admin"), "E_ROLE");
}
function inItsTime(c, now) {
  need(now + 30n >= c.nbf, "E_NOT_YET");
  need(now < c.exp, "E_CERT_EXPIRED");
}
function openCertificate(raw, charter, now) {
  const head = frame(raw);
  need(head.kind === 2, "E_TYPE");
  const c = read(certificateSchema, openObject(raw, 2, charter.key(head.issuer)));
  need(distinct([c.sig, c.box, c.bus]) && c.exp > c.nbf, "E_SCHEMA");
  need(same(c.sw, charter.swarmId), "E_SWARM");
  [c.sig, c.bus].forEach(checkKey);
  checkBox(c.box);
  need(same(c.iss, head.issuer), "E_ISSUER");
  const grant = charter.grant(head.issuer, c.nbf);
  need(within(c.ro, grant.roles) && within(c.zn, grant.zones) && c.exp - c.nbf <= grant.max_ttl && c.exp <= grant.exp, "E_GRANT");
  if (now !== null) inItsTime(c, now);
  return c;
}
function openRecord(raw, charter, issued) {
  const head = frame(raw);
  need(head.kind === 4, "E_TYPE");
  const grant = charter.grant(head.issuer, issued);
  const record = read(recordSchema, openObject(raw, 4, grant.pub));
  need(within(record.roles, grant.roles) && within(record.zone, grant.zones), "E_GRANT");
}
function openRequest(raw, charter, seed, proof) {
  need(raw.length > 28, "E_SHORT");
  need(raw.readUInt16BE() === 0xc145, "E_MAGIC");
  need(raw[2] === 1, "E_VERSION");
  need(raw[3] === 1, "E_TYPE");
  need(raw.length <= 4096, "E_LONG");
  const id = raw.subarray(4, 12);
  const opened = unseal(seed, raw.subarray(28), cat("swarm-enrol-v1", charter.swarmId, id, charter.hash));
  const body = opened.subarray(0, -192);
  const request = read(requestSchema, body);
  need(same(request.id, id), "E_PROOF");
  [request.sig_pub, request.bus_pub].forEach(checkKey);
  checkBox(request.box_pub);
  need(distinct([request.sig_pub, request.box_pub, request.bus_pub]), "E_KEY");
  const signed = cat("\xff", sha("swarm-enrol-v1\0", charter.swarmId, charter.hash, body));
  [request.sig_pub, request.bus_pub, proof].forEach((key, i) =>
    need(holds(key, opened.subarray(opened.length - 192 + 64 * i, opened.length - 128 + 64 * i), signed), "E_PROOF"));
}

// --- envelope and invite (ENV, INV) ---
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
