// From an invite to a membership (INV, ENR): what is said, in this order, and what is believed of the answers.
import crypto from "node:crypto";
import os from "node:os";
import { Bus } from "./bus.mjs";
import { pinOf } from "./dial.mjs";
import { nodeId } from "./lib/envelope.mjs";
import { openInvite, proofSeed } from "./lib/invite.mjs";
import { openCertificate, openChain } from "./lib/membership.mjs";
import { encode } from "./lib/pack.mjs";
import { Refused, boxPublic, cat, decode, hex, holds, keyId, need, same, seal, sha, signer, unseal } from "./lib/wire.mjs";
import { Problem } from "./problem.mjs";

const ASK_MS = [2000, 4000, 8000], PENDING_MS = 2000, GRACE_S = 300;
const KEYS = ["sign", "box", "bus"];
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const now = () => BigInt(Math.floor(Date.now() / 1000));
const WRONG = {
  E_PREFIX: "it does not begin with swarm1", E_LEN: "a part of it is missing", E_CHECKSUM: "a character of it is wrong",
  E_B32: "it holds a character that no invite has", E_B32_NONCANONICAL: "its end is wrong", E_VERSION: "it is for a newer version",
};

export function readInvite(text, nowMs = Date.now()) {
  let invite;
  try { invite = openInvite(text); } catch (error) {
    if (!(error instanceof Refused)) throw error;
    throw new Problem(error.message, `this is no invite: ${WRONG[error.message] ?? "it is damaged"}`, "Copy the whole line that `zwerm invite` printed.");
  }
  if (invite.expiry + GRACE_S < nowMs / 1000)
    throw new Problem("E_INVITE_EXPIRED", `this invite expired at ${new Date(invite.expiry * 1000).toISOString()}`, "Ask for a new one: `zwerm invite`.");
  return invite;
}
/** This device's keys: made once, and kept for another try with the same invite, whose use is then still its own. */
function keysFor(home, invite) {
  home.make();
  if (home.has("node.json")) throw new Problem("E_MEMBER", `${home.folder} is in a swarm already`, "Leave first (`main.mjs leave`), or use another --home.");
  if (home.json("joining.json", {}).invite !== invite.invite_id) {
    for (const name of KEYS) home.write(`${name}.key`, crypto.randomBytes(32));
    home.save("joining.json", { invite: invite.invite_id });
  }
  return Object.fromEntries(KEYS.map((name) => [name, home.read(`${name}.key`)]));
}
const urlOf = ({ type, host, port }) => `tls://${type === 2 ? `[${host}]` : host}:${port}`;
/** What the swarm answered is believed only if it holds. */
function believed(work) {
  try { return work(); } catch (error) {
    if (!(error instanceof Refused)) throw error;
    throw new Problem(error.message, `the swarm's answer does not hold (${error.message})`, "Nothing was given away. Try again; if it lasts, ask for a new invite.");
  }
}
async function ask(bus, subject, data) {
  for (const timeoutMs of ASK_MS) {
    try { return (await bus.request(subject, data, { timeoutMs })).data; } catch (problem) {
      if (problem.code === "E_NOBODY") await pause(500);
      else if (problem.code !== "E_TIMEOUT") throw problem;
    }
  }
  throw new Problem("E_NO_ANSWER", "the swarm's bus is there, but nobody answered: the enroller is off, or it does not know this invite", "Check that `zwerm up` runs on the device that made the invite; if it does, ask for a new invite.");
}
function request(invite, chain, issuer, keys, name) {
  const id = hex(invite.invite_id), sig = signer(keys.sign), bus = signer(keys.bus), proof = signer(proofSeed(hex(invite.secret), chain.swarmId));
  const body = encode({
    v: 1, id, sig_pub: sig.public, box_pub: boxPublic(keys.box), bus_pub: bus.public, name, asked_caps: [], nonce: crypto.randomBytes(16), ts: now(),
  });
  const transcript = sha("swarm-enrol-v1\0", chain.swarmId, chain.hash, body), signed = cat("\xff", transcript);
  const inside = cat(body, sig.sign(signed), bus.sign(signed), proof.sign(signed));
  const raw = cat("\xc1\x45\x01\x01", id, keyId(issuer.pub), seal(issuer.box, inside, cat("swarm-enrol-v1", chain.swarmId, id, chain.hash)));
  return { id, raw, transcript };
}
function openReply(raw, sent, chain, keys) {
  need(raw.length > 28, "E_SHORT");
  need(raw.readUInt16BE() === 0xc145, "E_MAGIC");
  need(raw[2] === 1, "E_VERSION");
  need(raw[3] === 2, "E_TYPE");
  need(raw.length <= 524288, "E_LONG");
  const inside = unseal(keys.box, raw.subarray(28), cat("swarm-enrol-reply-v1", chain.swarmId, raw.subarray(4, 12), sent.transcript));
  const body = inside.subarray(0, -64), issuer = chain.grant(raw.subarray(12, 28), now());
  need(holds(issuer.pub, inside.subarray(-64), cat("\xff", sha("swarm-enrol-reply-v1\0", sent.transcript, body))), "E_SIG");
  const said = decode(body);
  need(said instanceof Map && ["granted", "pending", "refused"].includes(said.get("status")), "E_SCHEMA");
  const reply = Object.fromEntries(said);
  if (reply.status !== "granted") return reply;
  need([reply.certificate, reply.bus_ca].every(Buffer.isBuffer) && reply.jwts instanceof Map && Array.isArray(reply.charter), "E_SCHEMA");
  const newest = openChain(reply.charter, chain.swarmId);
  need(newest.n >= chain.n, "E_CHAIN");
  const certificate = openCertificate(reply.certificate, newest, now());
  need(same(certificate.sig, signer(keys.sign).public) && same(certificate.box, boxPublic(keys.box)) && same(certificate.bus, signer(keys.bus).public), "E_PROOF");
  return { ...reply, newest, holder: certificate };
}
function keep(home, invite, urls, granted) {
  if (!same(pinOf(granted.bus_ca), hex(invite.bus_pin))) throw new Problem("E_PIN", "the swarm named another authority for its bus than the invite", "Ask for a new invite.");
  const token = granted.jwts.get("agent");
  if (!token) throw new Problem("E_ROLE", "this invite does not make an agent", "Ask for one with the role agent: `zwerm invite`.");
  home.write("charter.bin", encode(granted.charter));
  home.write("certificate.bin", granted.certificate);
  home.write("bus-ca.der", granted.bus_ca);
  home.write("agent.jwt", token);
  const node = {
    swarm: granted.newest.name, swarm_id: invite.swarm_id, name: granted.holder.nm, node: nodeId(granted.holder.sig).toString("hex"),
    urls: [...new Set([...urls, ...granted.newest.bus])],
  };
  home.save("node.json", node); // last: with it the home is a member's
  home.remove("joining.json");
  return node;
}

/** Joins; gives what this device is in the swarm. `say` is told what a person should know. */
export async function join(home, text, { name = os.hostname().split(".")[0], server, say = () => {} } = {}) {
  const invite = readInvite(text), keys = keysFor(home, invite);
  const urls = server ? [`tls://${server}`] : invite.endpoints.map(urlOf);
  if (!urls.length) throw new Problem("E_ADDRESS", "the invite names no address of the bus", "Give it: --server HOST:PORT (this example does not look for it by mDNS).");
  const bus = await new Bus({ urls, trust: { pin: hex(invite.bus_pin) }, login: () => null, inbox: "_E", name: "joining" }).open();
  try {
    const chain = await ask(bus, "enroll.charter", Buffer.alloc(0)).then((data) => believed(() => openChain(decode(data), hex(invite.swarm_id))));
    const issuer = chain.issuers.find((one) => one.exp > now());
    if (!issuer) throw new Problem("E_ISSUER", "nobody in this swarm may admit devices at the moment", "Its admin has to renew the charter.");
    const sent = request(invite, chain, issuer, keys, name); // the same bytes at every try (ENR-8)
    for (let told = false; ; told = true) {
      const reply = await ask(bus, `enroll.req.${invite.invite_id}`, sent.raw).then((raw) => believed(() => openReply(raw, sent, chain, keys)));
      if (reply.status === "granted") return keep(home, invite, urls, reply);
      if (reply.status === "refused") {
        home.remove("joining.json"); // these keys are of no use to this invite
        throw new Problem(reply.code, reply.message, reply.hint);
      }
      const code = String(sha(sent.transcript, reply.nonce).readUInt32BE() % 1000000).padStart(6, "0");
      if (!told) say(`Waiting for an admin, who must see this number: ${code}`);
      await pause(PENDING_MS);
    }
  } finally { await bus.close(); }
}
