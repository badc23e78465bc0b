// Who may say what to this node: certificates that were looked up and verified, revocations, halts, and the numbers seen before (ENV-13, CERT-7, REV, HLT).
import { nodeId } from "./lib/envelope.mjs";
import { openCertificate, openHalt, openRevocations } from "./lib/membership.mjs";
import { maySay } from "./lib/messages.mjs";
import { Refused, need, refuse } from "./lib/wire.mjs";

const OVERLAP_MS = 60000, WINDOW = 1024n, SESSIONS = 256, MISSING_MS = 30000, MISSING_MOST = 1024;
const seconds = () => BigInt(Math.floor(Date.now() / 1000));

export class Members {
  #current = new Map(); // node -> certificate
  #before = new Map(); // node -> [certificate, until]
  #missing = new Map(); // serial -> not asked for again until then
  #windows = new Map(); // sender and session -> { highest, seen, ends }
  #revoked = new Map(); // kind and id -> from that second on
  #listNumber = -1n;

  /** `charter()` is the chain as it is known now. */
  constructor(charter, store) { Object.assign(this, { charter, store }); }

  /** Takes a certificate in if it holds. */
  add(raw) {
    const certificate = openCertificate(raw, this.charter(), seconds()), node = nodeId(certificate.sig).toString("hex");
    const held = this.#current.get(node), serial = certificate.ser.toString("hex");
    const member = { ...certificate, node, serial };
    if (held?.serial === serial) return held;
    if (held && (held.nbf > member.nbf || (held.nbf === member.nbf && held.exp >= member.exp))) return member;
    if (held) this.#before.set(node, [held, Date.now() + OVERLAP_MS]);
    this.#current.set(node, member);
    return member;
  }
  /** Fetches the certificate of a serial that is not known; one that is not there is not asked for at every message. */
  async lookUp(serial) {
    if (Date.now() < (this.#missing.get(serial) ?? 0)) return;
    try {
      const raw = await this.store.certificate(serial);
      if (raw) this.add(raw);
    } catch (error) { if (!(error instanceof Refused) && !error.code) throw error; }
    if (this.#missing.size >= MISSING_MOST) this.#missing.clear();
    this.#missing.set(serial, Date.now() + MISSING_MS);
  }
  isRevoked(member, at = seconds()) {
    return [["node", member.node], ["serial", member.serial], ["invite", member.inv.toString("hex")], ["issuer", member.iss.toString("hex")]]
      .some(([kind, id]) => this.#revoked.has(`${kind} ${id}`) && at >= this.#revoked.get(`${kind} ${id}`));
  }
  /** The tests of ENV-9 from E_SENDER to E_ROLE. */
  judge(head) {
    const current = this.#current.get(head.sender) ?? refuse("E_SENDER");
    const [before, until] = this.#before.get(head.sender) ?? [];
    const member = head.serial === current.serial ? current : before?.serial === head.serial && Date.now() < until ? before : refuse("E_REVOKED");
    need(!this.isRevoked(member), "E_REVOKED");
    need(seconds() < member.exp, "E_CERT_EXPIRED");
    need(maySay(head.type, member.ro), "E_ROLE");
    return { key: member.sig, clearance: Number(member.cl), zones: member.zn.map(Number) };
  }
  seen(head) {
    const window = this.#windows.get(`${head.sender} ${head.session}`);
    if (window) return window.seen.has(head.seq) || head.seq + WINDOW <= window.highest;
    const prefix = `${head.sender} `;
    for (const [key, { ends }] of this.#windows) if (ends < Date.now()) this.#windows.delete(key);
    need([...this.#windows.keys()].filter((key) => key.startsWith(prefix)).length < SESSIONS, "E_RATE");
    return false;
  }
  enter(head) {
    const key = `${head.sender} ${head.session}`;
    const window = this.#windows.get(key) ?? { highest: 0n, seen: new Set(), ends: 0 };
    this.#windows.set(key, window);
    window.seen.add(head.seq);
    window.ends = Math.max(window.ends, head.ends);
    if (head.seq > window.highest) window.highest = head.seq;
    if (window.seen.size > 2 * Number(WINDOW)) for (const seq of window.seen) if (seq + WINDOW <= window.highest) window.seen.delete(seq);
  }
  /** A list of revocations (REV-3); the reason if `node` is in it. */
  takeRevocations(raw, node) {
    const list = openRevocations(raw, this.charter());
    if (list.get("n") < this.#listNumber) return null;
    this.#listNumber = list.get("n");
    this.#revoked = new Map(list.get("revoked").map((entry) => [`${entry.get("kind")} ${entry.get("id").toString("hex")}`, entry.get("at")]));
    const own = list.get("revoked").find((entry) => entry.get("kind") === "node" && entry.get("id").toString("hex") === node);
    return own ? own.get("why") || "no reason given" : null;
  }
  /** A halt order (HLT-1): { n, on, why }. */
  openHalt(raw, certificate) {
    const { order, by } = openHalt(raw, certificate, this.charter());
    need(!this.isRevoked({ ...by, node: nodeId(by.sig).toString("hex"), serial: by.ser.toString("hex") }, order.get("at")), "E_REVOKED");
    return { n: Number(order.get("n")), on: order.get("on"), why: order.get("why") ?? "" };
  }
}
