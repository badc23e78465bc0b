// What work has taken here, measured: the price and the time of a bid, and how likely it is to go well.
const KEPT = 64, ENOUGH = 2;
const sum = (list, of) => list.reduce((total, item) => total + of(item), 0);

/** base + perByte · bytes, as near as the samples allow; neither is ever negative. */
function fit(samples, of) {
  const bytes = sum(samples, (s) => s.bytes) / samples.length, mean = sum(samples, of) / samples.length;
  const spread = sum(samples, (s) => (s.bytes - bytes) ** 2);
  const slope = spread ? Math.max(0, sum(samples, (s) => (s.bytes - bytes) * (of(s) - mean)) / spread) : 0;
  const base = mean - slope * bytes;
  return base >= 0 ? { base, slope } : { base: 0, slope: bytes ? mean / bytes : 0 };
}

export class History {
  constructor(home, capability) {
    this.home = home;
    this.all = home.json("history.json", {});
    this.own = this.all[capability] ??= { samples: [], good: 0, bad: 0 };
  }
  #keep() { this.home.save("history.json", this.all); }
  measured(bytes, wallMs, cpuMs) {
    this.own.samples = [...this.own.samples, { bytes, wall: wallMs, cpu: cpuMs }].slice(-KEPT);
    this.#keep();
  }
  /** An ending that the coordinator has written down. */
  ended(good) {
    this.own[good ? "good" : "bad"]++;
    this.#keep();
  }
  get known() { return this.own.samples.length >= ENOUGH; }
  /** Milliseconds of time and of processor for an input of so many bytes. */
  expect(bytes) {
    const { samples } = this.own;
    if (!samples.length) return { wallMs: 1000, cpuMs: 0 };
    const wall = fit(samples, (s) => s.wall), cpu = fit(samples, (s) => s.cpu);
    return { wallMs: Math.ceil(wall.base + wall.slope * bytes), cpuMs: Math.ceil(cpu.base + cpu.slope * bytes) };
  }
  /** A beginner says nine of ten; what was checked takes the place of that. */
  get success() { return (this.own.good + 9) / (this.own.good + this.own.bad + 10); }
}
