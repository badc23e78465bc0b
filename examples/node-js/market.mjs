// Bids (MSG-9, MSG-17): one answer for each announcement, priced by what such work has taken here, with a slot kept for as long as the bid is good.
import os from "node:os";
import { INPUT_MOST } from "./work.mjs";

const VALID_MS = 10000, QUIET_MS = 10000, MICRO_CREDITS_A_MS = 1000; // a credit is a second of one processor at this node's rate, which is 1
export const load = () => Math.min(1, os.loadavg()[0] / os.availableParallelism());

export class Market {
  #rounds = new Map(); // run and subtask -> the highest round that was bid for
  #held = new Map(); // run and subtask -> a slot is kept until then

  constructor({ endpoint, work, history, offer }) { Object.assign(this, { endpoint, work, history, offer }); }

  #free(but) {
    for (const [key, until] of this.#held) if (until < Date.now()) this.#held.delete(key);
    return Math.max(0, this.work.slots - this.work.running - [...this.#held.keys()].filter((key) => key !== but).length);
  }
  announced(run, item) {
    if (item.capability !== this.offer.name) return;
    const key = `${run}/${item.subtask}`, free = this.#free(key);
    if (item.round < (this.#rounds.get(key) ?? 0)) return;
    const why = this.#against(item, free);
    const [name, said] = why ? ["decline", { code: why[0], detail: why[1].slice(0, 200) }] : ["bid", this.#bid(item, free)];
    if (!this.endpoint.send(`s.bid.${run}.${this.endpoint.me}`, name, [{ subtask: item.subtask, round: item.round, ...said }], run) || why) return;
    this.#rounds.delete(key);
    this.#rounds.set(key, item.round);
    if (this.#rounds.size > 10000) this.#rounds.delete(this.#rounds.keys().next().value);
    this.#held.set(key, Date.now() + VALID_MS);
  }
  /** Why there is no bid, as code and words, or null. */
  #against({ input_bytes, deadline_ms }, free) {
    if (this.work.haltReason !== null) return ["E_HALTED", this.work.haltReason];
    if (this.work.draining) return ["E_DRAINING", "this node stops"];
    if (input_bytes > INPUT_MOST) return ["E_TOO_LARGE", `${input_bytes} bytes of input; this agent takes ${INPUT_MOST}`];
    if (this.history.expect(input_bytes).wallMs > deadline_ms) return ["E_DEADLINE", "it would take longer here than it may"];
    return free ? null : ["E_SLOTS", "all slots are taken"];
  }
  #bid(item, free) {
    const { wallMs, cpuMs } = this.history.expect(item.input_bytes), known = this.history.known;
    return {
      agent: this.offer.agent, price: known ? cpuMs * MICRO_CREDITS_A_MS : 0, unpriced: !known, eta_ms: Math.min(Math.max(1, wallMs), 864000000), success: this.history.success,
      load: load(), queue: this.work.running, free_slots: free, quiet_ms: Math.max(QUIET_MS, 2 * wallMs), valid_ms: VALID_MS,
    };
  }
  /** Not won, won, or not wanted any more: the slot is free for other bids, or taken by the work itself. */
  settled(run, item) {
    const key = `${run}/${item.subtask}`;
    if (item.round >= (this.#rounds.get(key) ?? 0)) this.#held.delete(key);
  }
}
