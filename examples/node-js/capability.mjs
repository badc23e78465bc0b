// The process in which one attempt works (started by worker.mjs): reads its order from stdin, runs the capability's module, says what comes of it.
// It ends when its parent does: stdin is then at its end.
import fs from "node:fs";
import path from "node:path";
import readline from "node:readline";
import { pathToFileURL } from "node:url";

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const lines = readline.createInterface({ input: process.stdin });
lines.once("line", async (text) => {
  const order = JSON.parse(text), outputs = [];
  const job = {
    params: order.params,
    inputs: order.inputs.map((file) => ({ ...file, bytes: () => fs.readFileSync(file.path), text: () => fs.readFileSync(file.path, "utf8") })),
    progress: (fraction, note = "") => say({ progress: fraction, note }),
    output(name, data, mediaType = "application/octet-stream") {
      const file = path.join(order.out, String(outputs.length));
      fs.writeFileSync(file, data, { mode: 0o600 });
      outputs.push({ name, file, media_type: mediaType });
    },
  };
  try {
    const module = await import(pathToFileURL(order.module));
    await module.work(job);
    const { user, system } = process.cpuUsage();
    say({ done: outputs, cpu_ms: Math.round((user + system) / 1000) });
  } catch (error) {
    say({ failed: String(error.message ?? error).slice(0, 2000), code: /^E_[A-Z0-9_]{1,40}$/.test(error.code) ? error.code : "E_WORK", retry: error.retry === true });
  }
  lines.close();
  process.stdin.destroy();
});
process.stdin.once("end", () => process.exit(1));
