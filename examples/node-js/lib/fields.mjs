// Bodies of the membership objects (BODY-7): a field is a predicate, and a map has exactly its fields.
import { checkBox, checkKey, decode, need } from "./wire.mjs";

const bytes = (size) => (v) => Buffer.isBuffer(v) && v.length === size;
const int = (low, high) => (v) => typeof v === "bigint" && v >= BigInt(low) && v <= BigInt(high);
export const matching = (pattern) => (v) => typeof v === "string" && pattern.test(v);
export const listOf = (item, low, high) => (v) => Array.isArray(v) && v.length >= low && v.length <= high && v.every(item);
export const distinct = (list) => new Set(list.map((v) => (Buffer.isBuffer(v) ? v.toString("hex") : v))).size === list.length;
const set = (item, low, high) => (v) => listOf(item, low, high)(v) && distinct(v);
export const bool = (v) => typeof v === "boolean";
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
export const read = (schema, body) => { const v = decode(body); need(fits(schema, v), "E_SCHEMA"); return Object.fromEntries(v); };
const issuerSchema = { pub: signKey, box: boxKey, roles, zones, max_ttl: int(60, 7776000), exp: seconds };
const busSchema = { url: matching(/^tls:\/\/[A-Za-z0-9.:[\]_-]{1,262}$/), ca_spki: bytes(32) };
export const charterSchema = {
  v: int(1, 1), name, n: int(0, 4095), prev: bytes(32), roots: listOf(signKey, 1, 16), k: int(1, 16),
  issuers: listOf((v) => fits(issuerSchema, v), 0, 64), bus: listOf((v) => fits(busSchema, v), 0, 16), zones: listOf(name, 0, 256),
  policy: (v) => v instanceof Map, not_before_issue: (v) => v instanceof Map && [...v].every(([k, t]) => /^[0-9a-f]{32}$/.test(k) && seconds(t)),
};
export const certificateSchema = {
  v: int(1, 1), sw: bytes(32), ser: bytes(8), sig: bytes(32), box: bytes(32), bus: bytes(32), nm: name, ro: roles, cap: caps, zn: zones,
  cl: int(0, 3), nbf: seconds, exp: seconds, inv: bytes(8), iss: bytes(16), ch: (v) => typeof v === "bigint" && v >= 0n,
};
export const recordSchema = {
  id: bytes(8), proof_pub: bytes(32), roles, caps, zone: zones, clearance: int(0, 3), max_uses: int(1, 1000), exp: seconds,
  approval: bool, ephemeral: bool, label: (v) => typeof v === "string" && [...v].length <= 64, by: bytes(16),
};
export const requestSchema = { v: int(1, 1), id: bytes(8), sig_pub: bytes(32), box_pub: bytes(32), bus_pub: bytes(32), name, asked_caps: caps, nonce: bytes(16), ts: seconds };
