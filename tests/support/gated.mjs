// The twin of gated.py for the agent of examples/node-js: says that it began, then waits for a gate, then does its work.
import fs from "node:fs";

export const name = "test.shout";
export const description = "Capitals of the first input, once the file `gate` exists";
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export async function work(job) {
  fs.appendFileSync(job.params.begun, `${job.inputs[0].name} ${process.pid}\n`);
  while (!fs.existsSync(job.params.gate)) {
    job.progress(0.1, "waiting at the gate");
    await pause(50);
  }
  job.output("shout.txt", job.inputs[0].text().toUpperCase(), "text/plain");
}
