// What can be judged without a swarm: `node --test` in this folder. The swarm itself is in tests/e2e/test_node_js.py.
import assert from "node:assert/strict";
import crypto from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import test from "node:test";
import { Attempts, keyOf } from "./attempts.mjs";
import { readInvite } from "./enrol.mjs";
import { History } from "./history.mjs";
import { Home } from "./home.mjs";
import { openEnvelope } from "./lib/envelope.mjs";
import { readItems } from "./lib/messages.mjs";
import { encode } from "./lib/pack.mjs";
import { Refused, decode } from "./lib/wire.mjs";
import { busText, route, runBytes, runText } from "./names.mjs";
import { Parser } from "./parser.mjs";

function home(t) {
  const made = new Home(fs.mkdtempSync(path.join(os.tmpdir(), "node-js-")));
  t.after(() => fs.rmSync(made.folder, { recursive: true }));
  return made;
}
function parsed(bytes, size) {
  const got = [];
  const parser = new Parser({
    info: (info) => got.push(info), ping: () => got.push("ping"), pong: () => got.push("pong"), refused: (words) => got.push(words),
    message: (sid, { subject, reply, status, headers, data }) => got.push([sid, subject, reply, status, [...headers], data.toString()]),
  });
  for (let at = 0; at < bytes.length; at += size) parser.feed(bytes.subarray(at, at + size));
  return got;
}

test("what the server says is the same in whatever pieces it comes", () => {
  const head = "NATS/1.0 404 No\r\nNats-Stream:  ART \r\n\r\n";
  const bytes = Buffer.from(`INFO {"a":1}\r\nPING\r\nMSG a.b 1 5\r\nhe\r\no\r\nHMSG c 2 r.x ${head.length} ${head.length + 3}\r\n${head}abc\r\n+OK\r\nPONG\r\n-ERR 'No'\r\n`);
  const whole = [{ a: 1 }, "ping", ["1", "a.b", "", "", [], "he\r\no"], ["2", "c", "r.x", "404", [["nats-stream", "ART"]], "abc"], "pong", "No"];
  for (let size = 1; size <= bytes.length; size++) assert.deepEqual(parsed(bytes, size), whole);
});
test("a server that breaks the protocol, or never ends, is an error", () => {
  for (const words of ["HELLO\r\n", "MSG a 1 -5\r\n", "MSG a 1 99999999999\r\n", "HMSG a 1 9 5\r\n", "MSG\r\n", "INFO {\r\n"]) assert.throws(() => parsed(Buffer.from(words), 4), Error, words);
  assert.throws(() => parsed(Buffer.alloc(100000, "x"), 4096), /without an end/);
});
test("no bytes from the bus do anything but be refused", () => {
  const types = { has: () => true };
  for (let n = 0; n < 3000; n++) {
    const raw = crypto.randomBytes(n % 400);
    if (n % 2 && raw.length > 8) raw.set([0xc1, 0x53, 1, 0, 1, 0x10, 0, 0]);
    assert.throws(() => openEnvelope(raw, { swarm8: raw.subarray(14, 22), types, audience: "x", nowMs: Date.now(), member: () => ({ key: raw.subarray(0, 32) }) }), Refused);
    assert.throws(() => readItems(0x110, raw), Refused);
  }
});
test("a node remembers over restarts what it may not take any more, and what it has not said yet", (t) => {
  const folder = home(t), run = runText(Buffer.alloc(16, 7)), id = { subtask: "s", attempt: 2, epoch: 3 };
  let attempts = new Attempts(folder);
  const done = attempts.take(run, { ...id, subtask: "t" });
  attempts.end(done, "result", { outputs: [{ name: "a", ref: { sha256: Buffer.alloc(32, 1), size: 1, chunks: 1, writer: "U" } }], wall_ms: 5 });
  attempts.take(run, id);
  attempts = new Attempts(folder);
  const endings = attempts.endings.map(({ ending }) => [ending.name, ending.item.subtask, ending.item.code ?? ending.item.outputs[0].ref.sha256[0]]);
  assert.deepEqual(endings.sort(), [["failed", "s", "E_RESTARTED"], ["result", "t", 1]]);
  for (const [attempt, epoch, why] of [[2, 3, "E_STALE"], [1, 3, "E_STALE"], [9, 2, "E_EPOCH"], [3, 3, null], [1, 4, null]]) assert.equal(attempts.fenced(run, { subtask: "s", attempt, epoch }), why);
  attempts.drop(keyOf(run, id));
  assert.equal(new Attempts(folder).endings.length, 1);
});
test("a bid follows what such work has taken", (t) => {
  const history = new History(home(t), "a.b");
  assert.equal(history.known, false);
  for (const bytes of [0, 1000, 2000]) history.measured(bytes, 50 + bytes / 10, 20 + bytes / 100);
  assert.deepEqual(history.expect(10000), { wallMs: 1050, cpuMs: 120 });
  const before = history.success;
  history.ended(false);
  assert.ok(history.success < before);
});
test("a file of the home that others can read is not used, and two processes do not share one home", (t) => {
  const folder = home(t);
  folder.write("sign.key", Buffer.alloc(32));
  fs.chmodSync(folder.at("sign.key"), 0o644);
  assert.throws(() => folder.read("sign.key"), { code: "E_MODE" });
  fs.writeFileSync(folder.at("lock"), String(process.ppid));
  assert.throws(() => folder.lock(), { code: "E_BUSY" });
});
test("what is no invite is refused in words that say what to do", () => {
  const good = JSON.parse(fs.readFileSync(new URL("../../protocol/vectors/invite/ok-expiry-max.json", import.meta.url), "utf8")).given.text;
  assert.equal(readInvite(good).expiry, 0xffffffff);
  assert.throws(() => readInvite(good, (0xffffffff + 301) * 1000), { code: "E_INVITE_EXPIRED" });
  for (const [text, code] of [["", "E_PREFIX"], [good.slice(0, -1), "E_"], [`${good.slice(0, 40)}${good[40] === "a" ? "b" : "a"}${good.slice(41)}`, "E_CHECKSUM"], ["swarm1!", "E_LEN"]])
    assert.throws(() => readInvite(text), (error) => error.code.startsWith(code) && /Copy the whole line/.test(error.hint) && !error.message.includes(text.slice(8) || "-"));
});
test("what is written is read again as it was, and is as short as it can be", () => {
  const sizes = [[0, 1], [127, 1], [128, 2], [255, 2], [256, 3], [65535, 3], [65536, 5], [2 ** 32 - 1, 5], [2 ** 32, 9], [-1, 1], [-32, 1], [-33, 2], [-128, 2], [-129, 3], [-32769, 5], [-(2 ** 31) - 1, 9]];
  for (const [value, bytes] of sizes) {
    assert.equal(decode(encode(value)), BigInt(value));
    assert.equal(encode(value).length, bytes);
  }
  for (const size of [0, 31, 32, 255, 256, 65535, 65536]) {
    assert.equal(decode(encode("x".repeat(size))).length, size);
    assert.equal(decode(encode(Buffer.alloc(size))).length, size);
  }
  for (const size of [0, 15, 16, 4096]) assert.equal(decode(encode(Array.from({ length: size }, () => null))).length, size);
  for (const size of [0, 15, 16, 256]) assert.equal(decode(encode(Object.fromEntries(Array.from({ length: size }, (_, n) => [`k${n}`, n])))).size, size);
  assert.equal(decode(encode(0.5)), 0.5);
  for (const value of [2n ** 63n, NaN, Infinity]) assert.throws(() => encode(value), RangeError);
});
test("names are exactly those of the bus", () => {
  assert.match(busText(Buffer.alloc(32, 3)), /^U[A-Z2-7]{55}$/);
  const run = runText(Buffer.alloc(16, 0xff));
  assert.deepEqual(runBytes(run), Buffer.alloc(16, 0xff));
  assert.throws(() => runBytes(`${run.slice(0, -1)}7`), Refused);
  assert.equal(route("s.ann.text.wordcount").audience, "cap/text.wordcount");
  assert.throws(() => route("s.to.*"), Refused);
});
