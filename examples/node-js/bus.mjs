// The bus as a member or a joining device uses it: publish, subscribe, request; dialled again with growing pauses when it is lost (BUS-1, BUS-2).
import crypto from "node:crypto";
import { EventEmitter } from "node:events";
import { dial } from "./dial.mjs";
import { Parser } from "./parser.mjs";
import { Problem } from "./problem.mjs";

const PING_MS = 3000, FIRST_PAUSE_MS = 100, MAX_PAUSE_MS = 5000, LOGIN_MS = 5000;
const down = () => new Problem("E_DISCONNECTED", "there is no connection to the bus at the moment", "It is dialled again by itself.");

/** Events: `up` (connected, subscribed), `down` (reason), `refused` (how often in a row, words). */
export class Bus extends EventEmitter {
  #subscriptions = new Map();
  #pending = new Map();
  #socket = null;
  #sid = 0;
  #closed = false;
  #timers = new Set();

  /** `login()` gives { jwt, sign } of a member, or null of who joins; `inbox` is the prefix of reply subjects. */
  constructor({ urls, trust, login, inbox, name }) {
    super();
    Object.assign(this, { urls, trust, login, inbox, name, authority: null, errors: 0 });
    this.token = crypto.randomBytes(8).toString("hex");
    if (login()) this.subscribe(`${inbox}.*`, (message) => this.#answer(message));
  }
  get connected() { return this.#socket !== null; }

  /** The first connection; later ones come by themselves. */
  async open() {
    await this.#connect();
    return this;
  }
  async #connect() {
    let worst;
    for (const url of this.urls) {
      try { return await this.#login(await dial(url, this.trust), url); } catch (problem) {
        if (!worst || worst.code === "E_UNREACHABLE") worst = problem;
      }
    }
    throw worst ?? new Problem("E_UNREACHABLE", "no address of the bus is known", "Give one with --server HOST:PORT.");
  }
  #login(socket, url) {
    return new Promise((resolve, reject) => {
      let words = "", waiting = 0, greeted = false;
      const lost = (why) => {
        clearTimeout(timer);
        clearInterval(pings);
        socket.destroy();
        const refused = /authorization violation|authentication (revoked|expired)|revoked|expired/i.test(words);
        reject(refused ? new Problem("E_REFUSED", `the bus at ${url.slice(6)} does not accept this device's credential (${words})`, "Its membership may have been ended: ask the swarm's admin.")
          : new Problem("E_UNREACHABLE", `the bus at ${url.slice(6)} ended the connection (${words || why})`, "Try again in half a minute."));
        if (this.#socket === socket) this.#lost(words || why);
      };
      const timer = setTimeout(() => lost("no greeting"), LOGIN_MS);
      const pings = setInterval(() => { if (++waiting > 2) lost("no sign of life"); else socket.write("PING\r\n"); }, PING_MS);
      const parser = new Parser({
        info: (info) => { if (!greeted) { greeted = true; socket.write(this.#hello(info)); } },
        ping: () => socket.write("PONG\r\n"),
        pong: () => {
          waiting = 0;
          if (this.#socket === socket || this.#closed) return;
          clearTimeout(timer);
          this.authority = socket.authority;
          this.#socket = socket;
          for (const [sid, { subject }] of this.#subscriptions) socket.write(`SUB ${subject} ${sid}\r\n`);
          resolve();
          queueMicrotask(() => this.emit("up"));
        },
        refused: (reason) => { words = reason; this.errors++; this.emit("said", reason); },
        message: (sid, message) => this.#subscriptions.get(sid)?.handler(message),
      });
      socket.on("data", (chunk) => { try { parser.feed(chunk); } catch (error) { lost(error.message); } });
      socket.on("error", (error) => lost(error.message));
      socket.on("close", () => lost("the connection was lost"));
    });
  }
  #hello(info) {
    const login = this.login();
    const options = { verbose: false, pedantic: false, tls_required: true, headers: true, no_responders: true, protocol: 1, lang: "node", version: "1", name: this.name };
    if (login) Object.assign(options, { jwt: login.jwt, sig: login.sign(Buffer.from(info.nonce ?? "")).toString("base64url") });
    return `CONNECT ${JSON.stringify(options)}\r\nPING\r\n`;
  }
  #lost(why) {
    this.#socket = null;
    for (const { reject } of [...this.#pending.values()]) reject(down());
    if (this.#closed) return;
    this.emit("down", why);
    this.#again(FIRST_PAUSE_MS, 0);
  }
  #again(pause, refusals) {
    this.#later(pause * (0.5 + Math.random() / 2), async () => {
      try { await this.#connect(); } catch (problem) {
        const times = problem.code === "E_REFUSED" ? refusals + 1 : 0;
        if (times) this.emit("refused", times, problem);
        if (!this.#closed) this.#again(Math.min(2 * pause, MAX_PAUSE_MS), times);
      }
    });
  }
  #later(ms, work) {
    const timer = setTimeout(() => { this.#timers.delete(timer); if (!this.#closed) work(); }, ms);
    this.#timers.add(timer);
  }

  subscribe(subject, handler) {
    const sid = String(++this.#sid);
    this.#subscriptions.set(sid, { subject, handler });
    this.#socket?.write(`SUB ${subject} ${sid}\r\n`);
    return () => { this.#subscriptions.delete(sid); this.#socket?.write(`UNSUB ${sid}\r\n`); };
  }
  /** Whether it went out; what is said without a connection is lost. */
  publish(subject, data, { reply = "", headers } = {}) {
    if (!this.#socket) return false;
    const to = reply ? `${subject} ${reply}` : subject;
    if (headers) {
      const block = Buffer.from(`NATS/1.0\r\n${Object.entries(headers).map(([key, value]) => `${key}: ${value}\r\n`).join("")}\r\n`);
      this.#socket.write(`HPUB ${to} ${block.length} ${block.length + data.length}\r\n`);
      this.#socket.write(block);
    } else this.#socket.write(`PUB ${to} ${data.length}\r\n`);
    this.#socket.write(data);
    this.#socket.write("\r\n");
    return true;
  }
  /** One answer, or Problem E_DISCONNECTED, E_TIMEOUT, E_NOBODY. A joining device may hear one subject for each request, and no more. */
  request(subject, data, { headers, timeoutMs = 5000 } = {}) {
    const token = `${this.token}${(++this.#sid).toString(36)}`, reply = `${this.inbox}.${token}`;
    return new Promise((resolve, reject) => {
      const end = (settle) => (value) => { clearTimeout(timer); this.#pending.delete(token); unsubscribe(); settle(value); };
      const unsubscribe = this.login() ? () => {} : this.subscribe(reply, (message) => this.#answer(message));
      const timer = setTimeout(() => this.#pending.get(token)?.reject(new Problem("E_TIMEOUT", `no answer on ${subject.split(".", 3).join(".")}`, "Is the swarm's first device on?")), timeoutMs);
      this.#pending.set(token, { resolve: end(resolve), reject: end(reject) });
      if (!this.publish(subject, data, { reply, headers })) this.#pending.get(token).reject(down());
    });
  }
  #answer(message) {
    const waiting = this.#pending.get(message.subject.slice(this.inbox.length + 1));
    if (message.status === "503" && !message.data.length) waiting?.reject(new Problem("E_NOBODY", "nobody serves this at the moment", "Does `zwerm up` run on the swarm's first device?"));
    else waiting?.resolve(message);
  }
  /** What was said before goes out first. */
  async close() {
    this.#closed = true;
    for (const timer of this.#timers) clearTimeout(timer);
    const socket = this.#socket;
    this.#socket = null;
    for (const { reject } of [...this.#pending.values()]) reject(down());
    if (!socket) return;
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, 2000);
      socket.once("close", () => { clearTimeout(timer); resolve(); });
      socket.end("PING\r\n");
    });
    socket.destroy();
  }
}
