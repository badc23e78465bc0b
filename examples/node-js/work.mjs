// Attempts that were awarded: taken or refused, worked on, stopped, and ended in exactly one way (MSG-11 to MSG-16).
import fs from "node:fs";
import path from "node:path";
import { Attempts, idOf, keyOf } from "./attempts.mjs";
import { Problem, log } from "./problem.mjs";
import { startWorker } from "./worker.mjs";

/** Bytes of input, all files together, that one attempt takes. */
export const INPUT_MOST = 64 << 20;
const PROGRESS_MS = 250, RESEND_FIRST_MS = 1000, RESEND_MOST_MS = 30000;

export class Work {
  #running = new Map(); // key -> { entry, worker, stopped, step, ... }
  #resends = new Map(); // key -> timer

  constructor({ home, store, endpoint, history, offer, slots }) {
    Object.assign(this, { home, store, endpoint, history, offer, slots, draining: false, haltReason: null });
    this.attempts = new Attempts(home);
    home.remove("work");
  }
  get running() { return this.#running.size; }
  #say(run, name, item) { return this.endpoint.send(`s.work.${run}.${this.endpoint.me}`, name, [item], run); }

  award(run, item) {
    const key = keyOf(run, item), id = idOf(item), known = this.attempts.find(key);
    if (known) return this.#stand(known, key, item);
    const why = this.attempts.fenced(run, id) ?? this.#unfit(item, run);
    if (why === "E_EPOCH" || why === "E_STALE") return this.#say(run, "refuse", { ...id, code: why });
    for (const [other, { entry }] of this.#running) if (entry.run === run && entry.id.subtask === id.subtask) this.#stop(other, ["cancelled", {}]);
    if (why) {
      this.attempts.fence(run, id);
      return this.#say(run, "refuse", { ...id, code: why });
    }
    const entry = this.attempts.take(run, id);
    const job = { entry, worker: null, stopped: null, step: 0, told: 0, began: Date.now() };
    this.#running.set(key, job);
    if (item.confirm) this.#say(run, "confirm", id);
    this.#do(key, job, item).catch((error) => log("an attempt failed in an unexpected way:", error.stack));
    return undefined;
  }
  #stand({ run, id, ending }, key, item) {
    if (ending) return this.#say(run, ending.name, ending.item);
    if (item.confirm && this.#running.get(key)?.step === 0) this.#say(run, "confirm", id);
    return this.#say(run, "started", id);
  }
  /** The older attempt of the same subtask does not count: a higher award stops it. */
  #unfit(item, run) {
    if (this.haltReason !== null) return "E_HALTED";
    if (this.draining) return "E_DRAINING";
    if (item.capability !== this.offer.name || item.agent !== this.offer.agent) return "E_CAPABILITY";
    const others = [...this.#running.values()].filter(({ entry }) => entry.run !== run || entry.id.subtask !== item.subtask);
    return others.length >= this.slots ? "E_SLOTS" : null;
  }

  async #do(key, job, item) {
    const { entry } = job, { run, id } = entry;
    this.#say(run, "started", id);
    const deadline = setTimeout(() => this.#stop(key, ["failed", { code: "E_DEADLINE", message: "the time for it is over", retryable: true }]), Math.max(1, item.deadline_ms));
    const folder = this.home.at(path.join("work", key.replaceAll("/", "_")));
    let ending;
    try { ending = ["result", await this.#produce(job, item, folder)]; } catch (error) {
      if (!(error instanceof Problem)) log("work failed:", error.stack);
      ending = ["failed", { code: error.code && error instanceof Problem ? error.code : "E_WORK", message: String(error.message).slice(0, 2000), retryable: error.retryable ?? true }];
    }
    clearTimeout(deadline);
    fs.rmSync(folder, { recursive: true, force: true });
    const [name, fields] = job.stopped ?? ending;
    this.attempts.end(entry, name, fields);
    this.#running.delete(key);
    this.#tell(key, 0);
  }
  async #produce(job, item, folder) {
    const alive = () => { if (job.stopped) throw new Problem("E_STOPPED", "the work was stopped"); };
    const inputs = [];
    let bytes = 0;
    for (const name of ["in", "out"]) fs.mkdirSync(path.join(folder, name), { recursive: true, mode: 0o700 });
    for (const [number, file] of item.inputs.entries()) {
      const data = await this.store.fetch(file.ref, INPUT_MOST - bytes);
      alive();
      bytes += data.length;
      const place = path.join(folder, "in", String(number)); // never by the name that somebody chose
      fs.writeFileSync(place, data, { mode: 0o600 });
      inputs.push({ name: file.name, path: place, media_type: file.media_type });
    }
    const began = Date.now();
    job.worker = startWorker({ module: this.offer.module, params: item.params, inputs, out: path.join(folder, "out") }, (fraction, note) => this.#progress(job, fraction, note));
    const { outputs, cpuMs } = await job.worker.ended;
    alive();
    const wallMs = Date.now() - began;
    const files = outputs.map((output) => ({ ...output, data: fs.readFileSync(output.file) }));
    const out = files.reduce((total, { data }) => total + data.length, 0);
    if (item.caps && out > item.caps.bytes_out) throw Object.assign(new Problem("E_BUDGET", `the result has ${out} bytes, ${item.caps.bytes_out} were set aside`), { retryable: true });
    const stored = [];
    for (const { name, media_type, data } of files) stored.push({ name, media_type, ref: await this.store.put(data) });
    alive();
    this.history.measured(bytes, wallMs, cpuMs);
    // No money is said: then it costs what was bid (BUD-10).
    return { outputs: stored, wall_ms: Date.now() - job.began, cpu_ms: cpuMs, used: { bytes_out: out } };
  }
  #progress(job, fraction, note) {
    job.step++;
    if (job.stopped || Date.now() - job.told < PROGRESS_MS) return;
    job.told = Date.now();
    this.#say(job.entry.run, "progress", { ...job.entry.id, step: job.step, fraction, note });
  }
  /** Ends what an attempt runs; `ending` becomes its end when nothing of it runs any more. */
  #stop(key, ending) {
    const job = this.#running.get(key);
    if (!job || job.stopped) return false;
    job.stopped = ending;
    job.worker?.kill();
    return Boolean(job.worker);
  }
  cancel(run, item) {
    const key = keyOf(run, item), known = this.attempts.find(key);
    if (known?.ending) return this.#say(run, known.ending.name, known.ending.item);
    if (known) return this.#stop(key, ["cancelled", {}]);
    this.attempts.fence(run, idOf(item));
    return this.#say(run, "cancelled", idOf(item));
  }
  acknowledged(run, item) {
    const key = keyOf(run, item), entry = this.attempts.drop(key);
    clearTimeout(this.#resends.get(key));
    this.#resends.delete(key);
    if (!entry || !item.applied) return;
    if (entry.ending.name === "result") this.history.ended(true);
    else if (entry.ending.name === "failed" && !["E_HALTED", "E_SHUTDOWN", "E_DEADLINE", "E_DISK_FULL", "E_RESTARTED"].includes(entry.ending.item.code)) this.history.ended(false);
  }
  /** Says an ending, and again, with growing pauses, until it is acknowledged. */
  #tell(key, times) {
    const entry = this.attempts.find(key);
    clearTimeout(this.#resends.get(key));
    this.#say(entry.run, entry.ending.name, entry.ending.item);
    this.#resends.set(key, setTimeout(() => this.#tell(key, times + 1), Math.min(RESEND_FIRST_MS * 2 ** times, RESEND_MOST_MS)));
  }
  tellAll() { for (const { run, id } of this.attempts.endings) this.#tell(keyOf(run, id), 0); }

  /** Stops everything, and settles when nothing runs any more; how many processes were ended. */
  async stopAll(code, message) {
    const ended = [...this.#running.keys()].map((key) => this.#stop(key, ["failed", { code, message, retryable: true }])).filter(Boolean).length;
    while (this.#running.size) await new Promise((resolve) => setTimeout(resolve, 5));
    return ended;
  }
  close() { for (const timer of this.#resends.values()) clearTimeout(timer); }
}
