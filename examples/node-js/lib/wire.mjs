// What everything on the wire is made of, from SPEC.md alone: keys and signatures (KEY), sealing (SEAL), bodies (BODY).
import crypto from "node:crypto";

// Counterpart: pack.mjs writes bodies.

export class Refused extends Error {}
export const refuse = (code) => { throw new Refused(code); };
export const need = (condition, code) => { if (!condition) refuse(code); };
export const hex = (text) => Buffer.from(text, "hex");
export const cat = (...parts) => Buffer.concat(parts.map((part) => (typeof part === "string" ? Buffer.from(part, "latin1") : part)));
export const sha = (...parts) => crypto.createHash("sha256").update(cat(...parts)).digest();
export const same = (a, b) => Buffer.compare(a, b) === 0;

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
export function checkKey(key) {
  need(key.length === 32, "E_KEY");
  const y = little(key) & ((1n << 255n) - 1n);
  need(y < P && !SMALL_Y.has(y), "E_KEY"); // x = 0 only for y = 1 and y = -1, so a wrong sign of zero is caught as well
  const y2 = (y * y) % P;
  need(power(((y2 - 1n + P) % P) * ((D * y2 + 1n) % P), (P - 1n) / 2n) === 1n, "E_KEY");
}
export const asKey = (prefix, key, type) => ({ key: cat(hex(prefix), key), format: "der", type });
export function holds(key, signature, data) {
  if (signature.length !== 64 || smallOrder(signature.subarray(0, 32))) return false;
  return crypto.verify(null, data, crypto.createPublicKey(asKey("302a300506032b6570032100", key, "spki")), signature);
}
/** A private Ed25519 key from its 32-byte seed; the seed stays in here (KEY-5). */
export function signer(seed) {
  const key = crypto.createPrivateKey(asKey("302e020100300506032b657004220420", seed, "pkcs8"));
  const own = crypto.createPublicKey(key).export({ format: "der", type: "spki" }).subarray(12);
  return { public: own, sign: (...parts) => crypto.sign(null, cat(...parts), key) };
}
export const keyId = (key) => sha("swarm-key-id-v1\0", key).subarray(0, 16);

// --- sealing (SEAL): HPKE base mode, X25519, HKDF-SHA256, ChaCha20-Poly1305 ---
const xPublic = (key) => crypto.createPublicKey(asKey("302a300506032b656e032100", key, "spki"));
const xPrivate = (seed) => crypto.createPrivateKey(asKey("302e020100300506032b656e04220420", seed, "pkcs8"));
const exchange = (seed, key) => crypto.diffieHellman({ privateKey: xPrivate(seed), publicKey: xPublic(key) });
const mac = (key, ...parts) => crypto.createHmac("sha256", key).update(cat(...parts)).digest();
const KEM = "KEM\x00\x20", SUITE = "HPKE\x00\x20\x00\x01\x00\x03";
const extract = (salt, suite, label, ikm) => mac(salt.length ? salt : Buffer.alloc(32), "HPKE-v1", suite, label, ikm);
const expand = (prk, suite, label, info, size) => mac(prk, Buffer.from([0, size]), "HPKE-v1", suite, label, info, "\x01").subarray(0, size);
export function checkBox(key) {
  need(key.length === 32, "E_KEY");
  try { exchange(Buffer.alloc(32, 1), key); } catch { refuse("E_KEY"); }
}
export const boxPublic = (seed) => crypto.createPublicKey(xPrivate(seed)).export({ format: "der", type: "spki" }).subarray(12);
function cipherKey(dh, enc, receiver, info) {
  const shared = expand(extract("", KEM, "eae_prk", dh), KEM, "shared_secret", cat(enc, receiver), 32);
  const context = cat("\0", extract("", SUITE, "psk_id_hash", ""), extract("", SUITE, "info_hash", info));
  const secret = extract(shared, SUITE, "secret", "");
  return [expand(secret, SUITE, "key", context, 32), expand(secret, SUITE, "base_nonce", context, 12), { authTagLength: 16 }];
}
export function seal(receiver, plaintext, info) {
  const seed = crypto.randomBytes(32), enc = boxPublic(seed);
  const close = crypto.createCipheriv("chacha20-poly1305", ...cipherKey(exchange(seed, receiver), enc, receiver, info));
  return cat(enc, close.update(plaintext), close.final(), close.getAuthTag());
}
export function unseal(seed, sealed, info) {
  try {
    const enc = sealed.subarray(0, 32);
    const open = crypto.createDecipheriv("chacha20-poly1305", ...cipherKey(exchange(seed, enc), enc, boxPublic(seed), info));
    open.setAuthTag(sealed.subarray(-16));
    return cat(open.update(sealed.subarray(32, -16)), open.final());
  } catch { return refuse("E_DECRYPT"); }
}

// --- bodies (BODY): integers as BigInt, floats as Number, bytes as Buffer, maps as Map ---
export function decode(data, most = 10000) {
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
export function plain(value) {
  if (Buffer.isBuffer(value)) return { $hex: value.toString("hex") };
  if (typeof value === "number") { const bytes = Buffer.alloc(8); bytes.writeDoubleBE(value); return { $float: bytes.toString("hex") }; }
  if (typeof value === "bigint") return value > 2n ** 53n || value < -(2n ** 53n) ? { $int: String(value) } : Number(value);
  if (Array.isArray(value)) return value.map(plain);
  return value instanceof Map ? Object.fromEntries([...value].map(([key, item]) => [key, plain(item)])) : value;
}
