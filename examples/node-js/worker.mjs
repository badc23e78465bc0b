// One attempt's process: own process group, clean environment, a bound on its memory; what it says is read line by line.
import { spawn } from "node:child_process";
import readline from "node:readline";
import { fileURLToPath } from "node:url";
import { Problem } from "./problem.mjs";

const CHILD = fileURLToPath(new URL("capability.mjs", import.meta.url));
const MEMORY_MIB = 512, LINES_MOST = 100000;

/** Starts it; `ended` settles when nothing of it runs any more: { outputs, cpuMs } or a Problem. `kill()` ends the whole group at once. */
export function startWorker(order, onProgress) {
  const child = spawn(process.execPath, [`--max-old-space-size=${MEMORY_MIB}`, CHILD], {
    cwd: order.out, detached: true, stdio: ["pipe", "pipe", "pipe"], env: { PATH: process.env.PATH, LANG: "C.UTF-8" },
  });
  let said = null, lines = 0, words = "";
  const kill = () => { try { process.kill(-child.pid, "SIGKILL"); } catch { /* it is gone */ } };
  readline.createInterface({ input: child.stdout }).on("line", (line) => {
    if (++lines > LINES_MOST) return kill();
    let told;
    try { told = JSON.parse(line); } catch { return undefined; }
    if (typeof told?.progress === "number") onProgress(Math.min(1, Math.max(0, told.progress)), String(told.note ?? "").slice(0, 200));
    else if (told?.done || told?.failed) said = told;
    return undefined;
  });
  child.stderr.on("data", (chunk) => { words = (words + chunk).slice(-1000); });
  child.stdin.on("error", () => {});
  child.stdin.write(`${JSON.stringify(order)}\n`);
  const ended = new Promise((resolve, reject) => {
    child.once("error", (error) => reject(new Problem("E_WORKER", `the work could not be started (${error.code})`)));
    child.once("close", (code, signal) => {
      kill(); // what it may have left behind
      if (said?.done) resolve({ outputs: said.done, cpuMs: said.cpu_ms });
      else if (said) reject(Object.assign(new Problem(said.code, said.failed), { retryable: said.retry }));
      else reject(Object.assign(new Problem("E_WORKER_DIED", `the work's process ended (${signal ?? `exit ${code}`}) ${words.trim().split("\n").at(-1)}`.trim()), { retryable: true }));
    });
  });
  return { pid: child.pid, kill, ended };
}
