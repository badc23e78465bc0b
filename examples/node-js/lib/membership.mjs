// Who belongs to a swarm: objects, charters, certificates, invite records, enrolment, halts, revocations (OBJ, CHA, CERT, INV-7, ENR, REV).
import { certificateSchema, charterSchema, distinct, read, recordSchema, requestSchema } from "./fields.mjs";
import { holdsItem } from "./messages.mjs";
import { cat, checkBox, checkKey, decode, holds, keyId, need, refuse, same, sha, unseal } from "./wire.mjs";

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
export function openObject(raw, kind, key) {
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
export function openChain(chain, swarmId) {
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
  return { grant, key, swarmId, hash: prev, n: Number(before.n), name: before.name, issuers: before.own, bus: before.bus.map((b) => b.get("url")) };
}
export function openRevocations(raw, charter) {
  const head = frame(raw);
  need(head.kind === 3, "E_TYPE");
  const list = decode(openObject(raw, 3, charter.key(head.issuer)), 30000);
  need(holdsItem("Revocations", list), "E_SCHEMA");
  const wide = (entry) => ["node", "issuer"].includes(entry.get("kind"));
  need(list.get("revoked").every((entry) => entry.get("id").length === (wide(entry) ? 16 : 8)), "E_SCHEMA");
  charter.grant(head.issuer, list.get("issued"));
  return list;
}
const within = (some, all) => some.every((item) => all.includes(item));
export function openHalt(raw, certificate, charter) {
  const by = openCertificate(certificate, charter, null);
  const order = decode(openObject(raw, 8, by.sig));
  need(holdsItem("Halt order", order), "E_SCHEMA");
  need(same(order.get("swarm"), charter.swarmId), "E_SWARM");
  inItsTime(by, order.get("at"));
  need(by.ro.includes("admin"), "E_ROLE");
  return { order, by };
}
function inItsTime(c, now) {
  need(now + 30n >= c.nbf, "E_NOT_YET");
  need(now < c.exp, "E_CERT_EXPIRED");
}
export function openCertificate(raw, charter, now) {
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
export function openRecord(raw, charter, issued) {
  const head = frame(raw);
  need(head.kind === 4, "E_TYPE");
  const grant = charter.grant(head.issuer, issued);
  const record = read(recordSchema, openObject(raw, 4, grant.pub));
  need(within(record.roles, grant.roles) && within(record.zone, grant.zones), "E_GRANT");
}
export function openRequest(raw, charter, seed, proof) {
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
