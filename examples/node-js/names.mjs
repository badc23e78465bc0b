// Names on the bus (Subjects): a bus key in text, a run id in text, and what kind of subject and audience a subject has (SUB-2).
import { need } from "./lib/wire.mjs";

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
export function base32(bytes) {
  let bits = 0, held = 0, text = "";
  for (const byte of bytes) {
    held = (held << 8) | byte;
    for (bits += 8; bits >= 5; bits -= 5) text += ALPHABET[(held >> (bits - 5)) & 31];
    held &= 255;
  }
  return bits ? text + ALPHABET[(held << (5 - bits)) & 31] : text;
}
function fromBase32(text, size) {
  let bits = 0n;
  for (const letter of text) bits = (bits << 5n) | BigInt(ALPHABET.indexOf(letter.toUpperCase()));
  return Buffer.from((bits >> BigInt((text.length * 5) % 8)).toString(16).padStart(2 * size, "0"), "hex");
}
function crc16(bytes) {
  let crc = 0;
  for (const byte of bytes) {
    crc ^= byte << 8;
    for (let i = 0; i < 8; i++) crc = crc & 0x8000 ? ((crc << 1) ^ 0x1021) & 0xffff : (crc << 1) & 0xffff;
  }
  return crc;
}
/** A bus key as the bus writes it (BUS-3). */
export function busText(key) {
  const raw = Buffer.concat([Buffer.from([20 << 3]), key]), sum = Buffer.alloc(2);
  sum.writeUInt16LE(crc16(raw));
  return base32(Buffer.concat([raw, sum]));
}
export const runText = (bytes) => base32(bytes).toLowerCase();
export function runBytes(text) {
  const bytes = fromBase32(text, 16);
  need(/^[a-z2-7]{26}$/.test(text) && runText(bytes) === text, "E_SCHEMA"); // MSG-5: another text of the same bytes is none
  return bytes;
}

const KINDS = [
  [/^s\.ann\.(.+)$/, "announce", (part) => `cap/${part}`],
  [/^s\.to\.U[A-Z2-7]{55}$/, "to"],
  [/^s\.bid\.([a-z2-7]{26})\.(U[A-Z2-7]{55})$/, "bid", (run) => `run/${run}/bids`],
  [/^s\.work\.([a-z2-7]{26})\.(U[A-Z2-7]{55})$/, "work", (run) => `run/${run}/work`],
  [/^s\.hb\.(U[A-Z2-7]{55})$/, "heartbeat", () => "swarm/presence"],
  [/^s\.req\.([a-z][a-z0-9-]{0,31})\.(U[A-Z2-7]{55})$/, "request", (service) => `svc/${service}`],
  [/^_I\.U[A-Z2-7]{55}\.[A-Za-z0-9_-]+$/, "inbox"],
  [/^s\.ctl$/, "control", () => "swarm/control"],
];
/** Kind and audience of a subject; `node` is the receiver's id, for those subjects that have its bus key. Refuses E_AUD. */
export function route(subject, node) {
  for (const [pattern, kind, audience] of KINDS) {
    const found = subject.match(pattern);
    if (found) return { kind, audience: audience ? audience(found[1]) : `node/${node}` };
  }
  return need(false, "E_AUD");
}
