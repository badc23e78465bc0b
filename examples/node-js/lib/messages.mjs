// Messages and records (MSG, REC, REV): the tables of SPEC.md are the schema, read as they stand there.
import fs from "node:fs";
import { bool, listOf, matching } from "./fields.mjs";
import { decode, need } from "./wire.mjs";

// Beside this folder if somebody took it along, otherwise where it lies in the repository.
const place = [new URL("../SPEC.md", import.meta.url), new URL("../../../protocol/SPEC.md", import.meta.url)].find((url) => fs.existsSync(url));
if (!place) throw new Error("SPEC.md is missing: put protocol/SPEC.md of the swarm's repository beside main.mjs");
const spec = fs.readFileSync(place, "utf8");
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
      return { key, type, fallback, test: tester(type), required: fallback === undefined };
    }));
export function holdsItem(name, v, also = []) {
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
const kinds = new Map(rows("### Types", "code").map(([code, name, roles, subjects, bytes, values]) => [parseInt(code, 16), {
  name, roles: roles.split(", "), subjects: subjects.split(", "), bytes: Number(count(bytes)), values: Number(count(values)),
}]));
const codes = new Map([...kinds].map(([code, { name }]) => [name, code]));
export const nameOf = (type) => kinds.get(type)?.name;
export const codeOf = (name) => codes.get(name);
export const bytesOf = (type) => kinds.get(type)?.bytes ?? 0;
export const typesOn = (subject) => new Set([...kinds].filter(([, kind]) => kind.subjects.includes(subject)).map(([code]) => code));
const ANY = ["agent", "coordinator", "client", "bus", "enroller", "admin", "observer"];
export const maySay = (type, roles) => kinds.get(type).roles.some((role) => (role === "any" ? roles.some((own) => ANY.includes(own)) : roles.includes(role)));

/** The items of a body, as they were decoded; E_BODY or E_SCHEMA. */
export function openItems(type, data) {
  const { name, values } = kinds.get(type), body = decode(data, values);
  const alone = type > 0x300 && type <= 0x380;
  const one = name !== "journal" ? (v) => holdsItem(name, v)
    : (v) => v instanceof Map && layouts.has(v.get("k")) && tester("Time")(v.get("at_ms")) && holdsItem(v.get("k"), v, ["k", "at_ms"]);
  need(listOf(one, 1, alone ? 1 : name === "journal" ? 256 : 250)(body), "E_SCHEMA");
  return body;
}
/** What a program works with: objects for maps, numbers where they are exact, every default filled in (MSG-1). */
export const readItems = (type, data) => openItems(type, data).map((item) => complete(nameOf(type), item));
export function loose(v) {
  if (typeof v === "bigint") return BigInt(Number(v)) === v ? Number(v) : v;
  if (Array.isArray(v)) return v.map(loose);
  return v instanceof Map ? Object.fromEntries([...v].map(([key, item]) => [key, loose(item)])) : v;
}
const WORDS = { nil: null, true: true, false: false, "[]": [], "{}": new Map(), '""': "", "no bytes": Buffer.alloc(0) };
const standard = (text) => (text in WORDS ? WORDS[text] : /^[\d,^]+$/.test(text) ? count(text) : text);
function complete(type, v) {
  if (v === null) return null;
  if (type.endsWith(" or nil")) return complete(type.slice(0, -7), v);
  const inner = type.match(/^list .*? of (.+)$/)?.[1];
  if (inner) return v.map((item) => complete(inner, item));
  if (!layouts.has(type)) return loose(v);
  return Object.fromEntries(layouts.get(type).map((f) => [f.key, complete(f.type, v.has(f.key) ? v.get(f.key) : standard(f.fallback))]));
}
