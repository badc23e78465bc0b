// Invites (INV): the text that somebody pastes, and the key that proves it was had.
import crypto from "node:crypto";
import { hex, need, same, sha } from "./wire.mjs";

const ALPHABET = "abcdefghijklmnopqrstuvwxyz234567";
export function openInvite(given) {
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
/** The seed of the proof key (INV-6); the secret itself is never sent. */
export const proofSeed = (secret, swarmId) => Buffer.from(crypto.hkdfSync("sha256", secret, swarmId, "swarm-invite-v1 proof", 32));
