// The agent: one connection, one capability; presence, orders, and an orderly end.
import fs from "node:fs";
import { Bus } from "./bus.mjs";
import { Endpoint } from "./endpoint.mjs";
import { Refused, decode, need } from "./lib/wire.mjs";
import { History } from "./history.mjs";
import { Market, load } from "./market.mjs";
import { Members } from "./members.mjs";
import { Membership } from "./membership.mjs";
import { runText } from "./names.mjs";
import { Problem, log } from "./problem.mjs";
import { Store } from "./store.mjs";
import { Work } from "./work.mjs";
import { startWorker } from "./worker.mjs";

const HEARTBEAT_MS = 5000, REFUSALS_MOST = 6, LAST_WORDS_MS = 3000;
const VERSION = "node-js/1";
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** A member's connection with everything that signs and verifies on it. */
export async function connect(home) {
  const membership = new Membership(home);
  const bus = new Bus({
    urls: membership.node.urls, trust: { ca: home.read("bus-ca.der") }, login: () => membership.login(), inbox: `_I.${membership.me}`, name: membership.node.name,
  });
  const store = new Store(bus, membership.me), members = new Members(() => membership.charter, store);
  const endpoint = new Endpoint({ bus, members, swarmId: membership.swarmId, keys: membership.keys, me: membership.me, node: membership.node.node, serial: () => membership.serial });
  await bus.open();
  return { membership, bus, store, members, endpoint };
}

export class Agent {
  #ready = Promise.resolve();
  #halt;
  #stopped = 0;
  #started = Date.now();

  /** `offer`: name (the capability), agent, description, module, sample; `onEnd` is told a Problem when this device is no member any more. */
  constructor(home, connection, { offer, slots, onEnd }) {
    Object.assign(this, connection, { home, offer, slots, onEnd });
    this.history = new History(home, offer.name);
    this.work = new Work({ home, store: this.store, endpoint: this.endpoint, history: this.history, offer, slots });
    this.market = new Market({ endpoint: this.endpoint, work: this.work, history: this.history, offer });
    this.#halt = home.json("halt.json", { n: 0, on: false, why: "" });
    this.#obey();
  }
  async start() {
    await this.#measure();
    await this.#readStore(); // an order to stand still is read before work is taken (HLT-3)
    this.endpoint.listen("s.ctl", (name, item) => this.#control(name, item));
    this.endpoint.listen(`s.to.${this.endpoint.me}`, (name, item, head) => this.#order(name, item, head));
    this.endpoint.listen(`s.ann.${this.offer.name}`, (name, item, head) => this.#order(name, item, head));
    this.bus.on("down", (why) => log("the connection to the bus was lost:", why));
    this.bus.on("up", () => this.#again());
    this.bus.on("said", (words) => log("the bus says:", words));
    this.bus.on("refused", (times, problem) => { if (times >= REFUSALS_MOST) this.onEnd(problem); });
    this.membership.keepGood(this.endpoint, (why) => this.onEnd(new Problem("E_CERT_EXPIRED", why, "Ask for a new invite and join again.")));
    this.#hello();
    this.work.tellAll();
    this.beat = setInterval(() => this.#heartbeat(), HEARTBEAT_MS);
  }
  /** Two small tries, once, so that the first bid is measured as well. */
  async #measure() {
    if (this.history.known || !this.offer.sample) return;
    for (const bytes of [Buffer.alloc(0), this.offer.sample()]) {
      const folder = this.home.at("work");
      fs.mkdirSync(folder, { recursive: true, mode: 0o700 });
      const file = `${folder}/sample`, began = Date.now();
      fs.writeFileSync(file, bytes, { mode: 0o600 });
      const { cpuMs } = await startWorker({ module: this.offer.module, params: {}, inputs: [{ name: "sample", path: file, media_type: "text/plain" }], out: folder }, () => {}).ended;
      this.history.measured(bytes.length, Date.now() - began, cpuMs);
      fs.rmSync(folder, { recursive: true });
    }
  }

  // --- presence (MSG-18) ---
  #presence(name, item) { return this.endpoint.send(`s.hb.${this.endpoint.me}`, name, [item]); }
  #hello() {
    const { node, certificate, raw } = this.membership;
    const card = { name: this.offer.agent, description: this.offer.description, capabilities: [this.offer.name], adapter: "node-js", slots: this.slots };
    this.#presence("hello", { name: node.name, version: VERSION, roles: certificate.ro, protocols: [1], agents: [card], slots: this.slots, certificate: raw, started_ms: this.#started });
  }
  #heartbeat() {
    this.#presence("heartbeat", {
      load: load(), slots_used: this.work.running, slots: this.slots, running: this.work.running, refused: this.endpoint.refused,
      halted: this.#halt.on, halt: this.#halt.n, stopped: this.#stopped,
    });
  }
  async #again() {
    log("connected to the bus again");
    this.#ready = this.#readStore();
    await this.#ready;
    this.#hello();
    this.work.tellAll();
  }

  // --- what the swarm orders ---
  async #readStore() {
    for (const [key, take] of [["halt", (raw) => this.#storedHalt(decode(raw))], ["revocations", (raw) => this.#takeRevocations(raw)]]) {
      try {
        const raw = await this.store.value(key);
        if (raw) await take(raw);
      } catch (error) {
        if (!(error instanceof Refused) && !(error instanceof Problem)) throw error;
        log(`${key} of the swarm's store could not be taken in: ${error.message}`);
      }
    }
  }
  async #control(name, item) {
    try {
      if (name === "halt") await this.#takeHalt(item.halt, item.certificate);
      if (name === "revocation") this.#takeRevocations(item.revocations);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      this.endpoint.refused++;
    }
  }
  #takeRevocations(raw) {
    const why = this.members.takeRevocations(raw, this.membership.node.node);
    if (why !== null) this.onEnd(new Problem("E_REVOKED", `this device's membership was ended: ${why}`, "Ask the swarm's admin; join again with a new invite."));
  }
  async #storedHalt(pair) {
    need(Array.isArray(pair) && pair.length === 2 && pair.every(Buffer.isBuffer), "E_SCHEMA");
    await this.#takeHalt(...pair);
  }
  async #takeHalt(raw, certificate) {
    const order = this.members.openHalt(raw, certificate), now = this.#halt;
    if (!(order.n > now.n || (order.n === now.n && order.on && !now.on))) return;
    this.#halt = order;
    this.home.save("halt.json", order);
    this.#obey();
    log(order.on ? `halted: ${order.why}` : "the halt was lifted");
    this.#stopped = order.on ? await this.work.stopAll("E_HALTED", "the swarm was halted") : 0;
    this.#heartbeat();
  }
  #obey() { this.work.haltReason = this.#halt.on ? this.#halt.why || "the swarm was halted" : null; }

  // --- the market ---
  async #order(name, item, head) {
    await this.#ready;
    if (name === "who") { this.#hello(); return this.work.tellAll(); }
    if (head.context.equals(Buffer.alloc(16))) return undefined; // what follows is about a run (MSG-5)
    const run = runText(head.context);
    switch (name) {
      case "announce": return this.market.announced(run, item);
      case "withdraw": case "reject": return this.market.settled(run, item);
      case "award": this.market.settled(run, item); return this.work.award(run, item);
      case "cancel": return this.work.cancel(run, item);
      case "result_ack": return this.work.acknowledged(run, item);
      default: return undefined;
    }
  }
  /** Takes nothing more, ends what runs and says so, says goodbye. Bounded. */
  async stop(reason) {
    this.work.draining = true;
    clearInterval(this.beat);
    this.membership.close();
    await this.work.stopAll("E_SHUTDOWN", "the node is going down");
    const end = Date.now() + LAST_WORDS_MS;
    while (this.bus.connected && this.work.attempts.endings.length && Date.now() < end) await pause(20);
    this.#presence("goodbye", { reason });
    this.work.close();
    await this.bus.close();
  }
}
