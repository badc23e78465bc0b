// Envelopes (ENV): made, and tested in the order of ENV-9. Who the sender is, and what was seen before, is the caller's to know.
import { bytesOf } from "./messages.mjs";
import { cat, holds, need, same, sha, signer, unseal } from "./wire.mjs";

const DOMAIN = "\xffswarm-env-v1\0\0\0";
export const MAX_BYTES = 1048576;
export const audienceOf = (text) => sha("swarm-aud-v1\0", Buffer.from(text)).subarray(0, 16);
export const nodeId = (key) => sha("swarm-node-id-v1\0", key).subarray(0, 16);

/** What signs as this node in this process: a session of its own, numbered from 1 (ENV-7). */
export function sealer({ seed, swarmId, session }) {
  const key = signer(seed), sender = nodeId(key.public);
  let seq = 0n;
  return ({ type, audience, body, serial, nowMs, ttl = 30, context = Buffer.alloc(16) }) => {
    const head = Buffer.alloc(110);
    head.writeUInt16BE(0xc153);
    head[2] = 1;
    head.writeUInt16BE(type, 4);
    swarmId.copy(head, 14, 0, 8);
    sender.copy(head, 22);
    serial.copy(head, 38);
    session.copy(head, 46);
    head.writeBigUInt64BE(++seq, 54);
    head.writeBigUInt64BE(BigInt(nowMs), 62);
    head.writeUInt32BE(ttl, 70);
    audienceOf(audience).copy(head, 74);
    context.copy(head, 90);
    head.writeUInt32BE(body.length, 106);
    if (body.length > bytesOf(type) || body.length > MAX_BYTES - 174) throw new RangeError(`a body of ${body.length} bytes is too long for its type`);
    return cat(head, body, key.sign(DOMAIN, head, body));
  };
}

/** The header, once the signature held; throws Refused. `member(header)` gives key, clearance, zones, or refuses; `seen` knows the replays. */
export function openEnvelope(raw, { swarm8, types, audience, nowMs, member, seen = () => false, limit = bytesOf }) {
  const u64 = (at) => raw.readBigUInt64BE(at);
  need(raw.length >= 174, "E_SHORT");
  need(raw.length <= MAX_BYTES, "E_LONG");
  need(raw.readUInt16BE() === 0xc153, "E_MAGIC");
  need(raw[2] === 1, "E_VERSION");
  need(raw[3] < 16, "E_FLAGS");
  need(raw[7] === 0, "E_RESERVED");
  need(same(raw.subarray(14, 22), swarm8), "E_SWARM");
  const head = {
    flags: raw[3], type: raw.readUInt16BE(4), class: raw[6], zone: raw.readUInt16BE(8), sender: raw.subarray(22, 38).toString("hex"),
    serial: raw.subarray(38, 46).toString("hex"), session: raw.subarray(46, 54).toString("hex"), context: raw.subarray(90, 106),
  };
  need(types.has(head.type) && !(head.flags & 8), "E_TYPE");
  need(raw.length - 174 <= limit(head.type), "E_LONG");
  need(same(raw.subarray(74, 90), audienceOf(audience)), "E_AUD");
  need(raw.readUInt32BE(106) + 174 === raw.length, "E_LEN");
  const ttl = raw.readUInt32BE(70), age = BigInt(nowMs) - u64(62);
  need(ttl <= 600 && age <= BigInt(ttl) * 1000n + 30000n && age >= -30000n, "E_TIME");
  Object.assign(head, { seq: u64(54), ends: Number(u64(62)) + ttl * 1000 + 30000 });
  const { key, clearance = 1, zones = [] } = member(head);
  need(head.class < 2 && head.class <= clearance && (head.zone === 0 || zones.includes(head.zone)), "E_CLASS");
  need(head.seq > 0n && !seen(head), "E_REPLAY");
  need(holds(key, raw.subarray(-64), cat(DOMAIN, raw.subarray(0, -64))), "E_SIG");
  return head;
}

/** The body of an envelope whose signature held. This edition has no zone keys. */
export function openBody(raw, head, boxSeed) {
  need(!(head.flags & 2), "E_DECRYPT");
  const body = raw.subarray(110, -64);
  return head.flags & 1 ? unseal(boxSeed, body, cat("swarm-box-v1", raw.subarray(0, 106))) : body;
}
