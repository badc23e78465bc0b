// The swarm's store (BUS-4 to BUS-6, ART): artifacts, certificates and the few values that every member reads.
import crypto from "node:crypto";
import { Problem } from "./problem.mjs";

const CHUNK = 262144, PATIENCE_MS = 20000, SAME_TIME = 4;
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const refHex = (ref) => ref.sha256.toString("hex");

export class Store {
  constructor(bus, me) { Object.assign(this, { bus, me }); }

  /** Asked again while the bus is away, for a while. */
  async #ask(subject, data, options) {
    const end = Date.now() + PATIENCE_MS;
    for (let wait = 50; ; wait = Math.min(2 * wait, 2000)) {
      try { return await this.bus.request(subject, data, options); } catch (problem) {
        if (Date.now() + wait > end) throw problem;
        await pause(wait);
      }
    }
  }
  /** The last message of a subject in a stream, or null. */
  async #get(stream, subject) {
    const answer = await this.#ask(`$JS.API.DIRECT.GET.${stream}.${subject}`, Buffer.alloc(0));
    if (answer.headers.has("nats-stream")) return ["DEL", "PURGE"].includes(answer.headers.get("kv-operation")) ? null : answer.data;
    if (answer.status === "404") return null;
    throw new Problem("E_STORE", `the store answers ${answer.status || "nonsense"}`, "Try again.");
  }
  value(key) { return this.#get("KV_SWARM", `$KV.SWARM.${key}`); }
  certificate(serialHex) { return this.#get("CERTS", `s.cert.${serialHex}`); }

  /** The whole content behind a reference; its digest is checked (ART-2). */
  async fetch(ref, mostBytes) {
    if (ref.size > mostBytes) throw new Problem("E_INPUT", `an input of ${ref.size} bytes is more than this agent takes (${mostBytes})`);
    const parts = [];
    for (let first = 0; first < ref.chunks; first += SAME_TIME) {
      const numbers = Array.from({ length: Math.min(SAME_TIME, ref.chunks - first) }, (_, i) => first + i);
      parts.push(...await Promise.all(numbers.map((n) => this.#get("ART", `s.art.${refHex(ref)}.${ref.writer}.${n}`))));
      if (parts.includes(null)) throw new Problem("E_NOT_FOUND", `artifact ${refHex(ref).slice(0, 12)} is not in the store`);
    }
    const data = Buffer.concat(parts);
    if (data.length !== ref.size || !crypto.createHash("sha256").update(data).digest().equals(ref.sha256))
      throw new Problem("E_DIGEST", `what is stored as ${refHex(ref).slice(0, 12)} is something else`);
    return data;
  }
  /** Stores bytes under this node's name; the reference. */
  async put(data) {
    const ref = { sha256: crypto.createHash("sha256").update(data).digest(), size: data.length, chunks: Math.ceil(data.length / CHUNK), writer: this.me };
    for (let n = 0; n < ref.chunks; n++) await this.#chunk(`s.art.${refHex(ref)}.${this.me}.${n}`, data.subarray(n * CHUNK, (n + 1) * CHUNK));
    return ref;
  }
  async #chunk(subject, data) {
    const answer = await this.#ask(subject, data, { headers: { "Nats-Expected-Last-Subject-Sequence": "0" } });
    let said = {};
    try { said = JSON.parse(answer.data.toString("utf8")); } catch { /* no acknowledgement: judged by what lies there */ }
    if (Number.isInteger(said.seq)) return;
    // Written once for ever: a chunk of the same bytes that is there already is this one.
    const stored = await this.#get("ART", subject);
    if (stored?.equals(data)) return;
    const why = said.error?.description ?? "no reason given";
    const full = /maximum bytes|no space|insufficient/i.test(why);
    throw new Problem(full ? "E_DISK_FULL" : "E_STORE", `the store did not take a file: ${why}`, full ? "Make room on the swarm's first device." : "Try again.");
  }
}
