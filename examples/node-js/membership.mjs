// This device's membership while it runs: read from its folder, renewed before it ends, ended when the swarm says so (ENR-7, MSG-7, REV-3).
import { nodeId } from "./lib/envelope.mjs";
import { openCertificate, openChain } from "./lib/membership.mjs";
import { Refused, decode, hex, need, same, signer } from "./lib/wire.mjs";
import { busText } from "./names.mjs";
import { Problem, log } from "./problem.mjs";

const RETRY_MS = 600000, LOOK_MS = 600000;
const now = () => Math.floor(Date.now() / 1000);

export class Membership {
  constructor(home) {
    this.home = home;
    this.node = home.json("node.json");
    this.swarmId = hex(this.node.swarm_id);
    this.keys = Object.fromEntries(["sign", "box", "bus"].map((name) => [name, home.read(`${name}.key`)]));
    this.bus = signer(this.keys.bus);
    this.me = busText(this.bus.public);
    this.#load();
    if (now() >= Number(this.certificate.exp))
      throw new Problem("E_CERT_EXPIRED", "this device's membership has expired", "Leave with `main.mjs leave`, ask for a new invite and join again.");
    this.jitter = Math.random();
  }
  #load() {
    try {
      this.parts = decode(this.home.read("charter.bin"));
      this.charter = openChain(this.parts, this.swarmId);
      this.raw = this.home.read("certificate.bin");
      this.certificate = openCertificate(this.raw, this.charter, null);
      need(same(nodeId(this.certificate.sig), hex(this.node.node)) && same(this.certificate.sig, signer(this.keys.sign).public), "E_PROOF");
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      throw new Problem(error.message, `what is kept of this membership in ${this.home.folder} does not hold`, "Leave with `main.mjs leave`, and join again by a new invite.");
    }
  }
  get serial() { return this.certificate.ser; }
  /** How the bus is shown who this is (BUS-2); the credential is that of the last renewal. */
  login() { return { jwt: this.home.read("agent.jwt").toString("latin1").trim(), sign: (nonce) => this.bus.sign(nonce) }; }

  /** Asks for the next certificate and takes it only when all of it holds. */
  async renew(endpoint) {
    const { blobs } = await endpoint.ask("enroll", "renew");
    const { charter, certificate, "token/agent": token } = blobs;
    let chain;
    try {
      need([charter, certificate, token].every(Buffer.isBuffer), "E_SCHEMA");
      const parts = decode(charter);
      need(Array.isArray(parts) && this.parts.every((part, n) => Buffer.isBuffer(parts[n]) && same(part, parts[n])), "E_CHAIN");
      chain = openChain(parts, this.swarmId);
      const renewed = openCertificate(certificate, chain, BigInt(now()));
      need(["sig", "box", "bus"].every((key) => same(renewed[key], this.certificate[key])), "E_PROOF");
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      throw new Problem(error.message, `the renewed membership does not hold (${error.message})`, "The old one is good until it ends; tell the swarm's admin.");
    }
    this.home.write("charter.bin", charter);
    this.home.write("certificate.bin", certificate);
    this.home.write("agent.jwt", token);
    this.#load();
    return Number(this.certificate.exp);
  }
  /** Renews at half of the certificate's life, a little later by chance; `onEnd` is told when it could not be done in time. */
  keepGood(endpoint, onEnd) {
    const look = async () => {
      const [from, until] = [Number(this.certificate.nbf), Number(this.certificate.exp)];
      const due = from + (until - from) * (0.5 + 0.1 * this.jitter);
      let wait = Math.min(LOOK_MS, Math.max(1000, (due - now()) * 1000));
      if (now() >= until) return onEnd("this device's membership has expired");
      if (now() >= due) {
        try { log("membership renewed until", new Date(await this.renew(endpoint) * 1000).toISOString()); } catch (problem) {
          log("membership not renewed yet:", problem.message);
          wait = RETRY_MS;
        }
      }
      this.timer = setTimeout(look, wait);
      return undefined;
    };
    look();
  }
  close() { clearTimeout(this.timer); }
}
