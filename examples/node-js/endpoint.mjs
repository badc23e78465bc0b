// This node's mouth and ears: signs on the way out, verifies on the way in, and hands on what holds. The only door for bytes from the bus.
import crypto from "node:crypto";
import { openBody, openEnvelope, sealer } from "./lib/envelope.mjs";
import { codeOf, nameOf, readItems, typesOn } from "./lib/messages.mjs";
import { encode } from "./lib/pack.mjs";
import { Refused, need, same, sha } from "./lib/wire.mjs";
import { route, runBytes } from "./names.mjs";
import { Problem, log } from "./problem.mjs";

const WAITING_MOST = 2000;

export class Endpoint {
  #chain = Promise.resolve();
  #waiting = 0;

  /** `me` is the bus key in text, `node` the node id in hex, `serial()` the certificate's now; `record`, if set, is shown all that is said. */
  constructor({ bus, members, swarmId, keys, me, node, serial }) {
    Object.assign(this, { bus, members, swarmId, me, node, serial, boxSeed: keys.box, refused: 0, record: null });
    this.seal = sealer({ seed: keys.sign, swarmId, session: crypto.randomBytes(8) });
  }
  #envelope(subject, name, items, run) {
    return this.seal({
      type: codeOf(name), audience: route(subject, this.node).audience, body: encode(items), serial: this.serial(), nowMs: Date.now(),
      context: run ? runBytes(run) : undefined,
    });
  }
  /** Whether it went out. */
  send(subject, name, items, run) {
    const raw = this.#envelope(subject, name, items, run);
    this.record?.(subject, raw);
    return this.bus.publish(subject, raw);
  }

  /** Calls `handler(name, item, head, subject)` for each item of each envelope that holds, in the order of arrival. */
  listen(subject, handler) {
    this.bus.subscribe(subject, (message) => {
      if (this.#waiting >= WAITING_MOST) { this.refused++; return; }
      this.#waiting++;
      this.#chain = this.#chain.then(() => this.#take(message, handler)).catch((error) => log("a message was not dealt with:", error.stack)).finally(() => this.#waiting--);
    });
  }
  async #take(message, handler) {
    let opened;
    try { opened = await this.#open(message.data, message.subject); } catch (error) {
      if (!(error instanceof Refused)) throw error;
      this.refused++; // counted, and never answered (ENV-19)
      return;
    }
    for (const item of opened.items) await handler(nameOf(opened.head.type), item, opened.head, message.subject);
  }
  async #open(raw, subject) {
    const { kind, audience } = route(subject, this.node);
    const verify = () => openEnvelope(raw, {
      swarm8: this.swarmId.subarray(0, 8), types: typesOn(kind), audience, nowMs: Date.now(),
      member: (head) => this.members.judge(head), seen: (head) => this.members.seen(head),
    });
    let head;
    try { head = verify(); } catch (error) {
      if (!["E_SENDER", "E_REVOKED"].includes(error.message)) throw error;
      await this.members.lookUp(raw.subarray(38, 46).toString("hex"));
      head = verify();
    }
    this.members.enter(head);
    return { head, items: readItems(head.type, openBody(raw, head, this.boxSeed)) };
  }
  /** Asks a service (MSG-6); the reply's one item, or Problem. */
  async ask(service, name, item = {}, timeoutMs = 10000) {
    const subject = `s.req.${service}.${this.me}`, raw = this.#envelope(subject, name, [item]);
    this.record?.(subject, raw);
    const message = await this.bus.request(subject, raw, { timeoutMs });
    try {
      const { head, items: [reply] } = await this.#open(message.data, message.subject);
      need(same(head.context, sha(raw).subarray(0, 16)), "E_AUD");
      if (!reply.ok) throw new Problem(reply.code, reply.message, reply.hint);
      return reply;
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      throw new Problem(error.message, `an answer came that does not hold (${error.message})`, "Are both devices' clocks right?");
    }
  }
}
