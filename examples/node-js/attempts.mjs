// What this node must not forget about attempts, on its disk before it matters: the fences of each run (MSG-11) and every ending until it is acknowledged (MSG-14).
import { loose } from "./lib/messages.mjs";
import { encode } from "./lib/pack.mjs";
import { decode } from "./lib/wire.mjs";

const FILE = "attempts.json", RUNS_KEPT = 2000, ENDED_KEPT = 1000;
export const keyOf = (run, { subtask, attempt, epoch }) => `${run}/${subtask}/${attempt}/${epoch}`;
export const idOf = ({ subtask, attempt, epoch }) => ({ subtask, attempt, epoch });

export class Attempts {
  #fences; // run -> { epoch, subtasks: { id: [epoch, attempt] } }
  #open = new Map(); // key -> { run, id, ending: { name, item } or null }
  #ended = new Map(); // the same, acknowledged; for awards that come again

  constructor(home) {
    this.home = home;
    const kept = home.json(FILE, { fences: [], open: [] });
    this.#fences = new Map(kept.fences);
    for (const { run, id, ending } of kept.open) {
      const restarted = { name: "failed", item: { ...id, code: "E_RESTARTED", message: "the node was restarted in the middle of it", retryable: true } };
      const said = ending && { name: ending.name, item: loose(decode(Buffer.from(ending.item, "base64"))) };
      this.#open.set(keyOf(run, id), { run, id, ending: said ?? restarted });
    }
    this.#keep();
  }
  #keep() {
    const ending = (entry) => entry.ending && { name: entry.ending.name, item: encode(entry.ending.item).toString("base64") };
    this.home.save(FILE, { fences: [...this.#fences], open: [...this.#open.values()].map((entry) => ({ run: entry.run, id: entry.id, ending: ending(entry) })) });
  }
  /** Why an award of this attempt may not be taken any more, or null. */
  fenced(run, { subtask, attempt, epoch }) {
    const fence = this.#fences.get(run);
    if (!fence) return null;
    if (epoch < fence.epoch) return "E_EPOCH";
    const [highest, last] = fence.subtasks[subtask] ?? [0, 0];
    return epoch > highest || (epoch === highest && attempt > last) ? null : "E_STALE";
  }
  #raise(run, { subtask, attempt, epoch }) {
    const fence = this.#fences.get(run) ?? { epoch: 0, subtasks: {} };
    this.#fences.delete(run); // the runs that were heard of last are at the end
    this.#fences.set(run, { epoch: Math.max(fence.epoch, epoch), subtasks: { ...fence.subtasks, [subtask]: [epoch, attempt] } });
    if (this.#fences.size > RUNS_KEPT) this.#fences.delete(this.#fences.keys().next().value);
  }
  /** From now on neither this attempt nor an older one is taken. */
  fence(run, id) {
    if (this.fenced(run, id)) return;
    this.#raise(run, id);
    this.#keep();
  }
  take(run, id) {
    this.#raise(run, id);
    const entry = { run, id, ending: null };
    this.#open.set(keyOf(run, id), entry);
    this.#keep();
    return entry;
  }
  end(entry, name, item) {
    entry.ending = { name, item: { ...entry.id, ...item } };
    this.#keep();
  }
  /** Given back, or acknowledged: nothing more is owed. */
  drop(key) {
    const entry = this.#open.get(key);
    if (!entry) return null;
    this.#open.delete(key);
    this.#ended.set(key, entry);
    if (this.#ended.size > ENDED_KEPT) this.#ended.delete(this.#ended.keys().next().value);
    this.#keep();
    return entry;
  }
  find(key) { return this.#open.get(key) ?? this.#ended.get(key); }
  get endings() { return [...this.#open.values()].filter((entry) => entry.ending); }
}
