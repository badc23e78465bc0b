// An agent of a zwerm swarm in plain Node: `node main.mjs join|run|renew|leave`. See README.md.
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { Agent, connect } from "./agent.mjs";
import { join } from "./enrol.mjs";
import { Home } from "./home.mjs";
import { Problem, log } from "./problem.mjs";

const USAGE = `node main.mjs join [--name NAME] [--server HOST:PORT] [FILE]   become a member; the invite is read from FILE, or from standard input
node main.mjs run [--work MODULE] [--slots N] [--record FILE]  offer a capability until it is stopped (Ctrl-C)
node main.mjs renew                                          ask for the next certificate now (a running agent does it by itself)
node main.mjs leave                                          end the membership and delete the folder
Each takes --home FOLDER (standard: ./zwerm-node).`;
const usage = (why) => new Problem("E_USAGE", why, USAGE);
const OPTIONS = {
  home: { type: "string", default: "zwerm-node" }, name: { type: "string" }, server: { type: "string" },
  work: { type: "string" }, slots: { type: "string", default: "2" }, record: { type: "string" },
};

async function joining(home, { name, server }, [file, ...more]) {
  if (more.length || file?.toLowerCase().startsWith("swarm1")) throw usage("an invite is given in a file or on standard input, since every user of this machine sees a command's words");
  let text;
  try { text = fs.readFileSync(file ?? 0, "utf8").trim(); } catch (error) { throw usage(`${file ?? "standard input"} cannot be read (${error.code})`); }
  if (text.length > 20000) throw usage("that is much too long for an invite");
  const node = await join(home, text, { name, server, say: log });
  process.stdout.write(`${node.name} is a member of ${node.swarm} (node ${node.node.slice(0, 8)})\n`);
}
async function offerOf(work) {
  const file = path.resolve(work ?? fileURLToPath(new URL("wordcount.mjs", import.meta.url)));
  try {
    const { name, description = "", sample, work: does } = await import(pathToFileURL(file));
    if (typeof does !== "function" || !/^[a-z][a-z0-9-]*(\.[a-z0-9][a-z0-9-]*){0,5}$/.test(name)) throw new Error("it does not export `name` (a capability) and `work` (a function)");
    return { name, agent: path.basename(file, path.extname(file)).replace(/[^A-Za-z0-9_.-]/g, "-"), description, sample, module: file };
  } catch (error) { throw new Problem("E_WORK", `${file} is no capability: ${error.message}`, "See wordcount.mjs for one."); }
}
async function running(home, { work, slots, record }) {
  if (!/^[1-9]\d{0,2}$/.test(slots)) throw usage("--slots is a number from 1 to 999");
  const offer = await offerOf(work);
  home.lock();
  const connection = await connect(home);
  // For `python -m protocol.conformance envelope`, and for whoever wants to see what was said.
  if (record) connection.endpoint.record = (subject, raw) => fs.appendFileSync(record, `${JSON.stringify({ subject, hex: raw.toString("hex") })}\n`, { mode: 0o600 });
  await new Promise((resolve, reject) => {
    let ending = false;
    const end = async (reason, settle) => {
      if (ending) return;
      ending = true;
      await agent.stop(reason).catch((error) => log("it did not stop as it should:", error.stack));
      settle();
    };
    const agent = new Agent(home, connection, { offer, slots: Number(slots), onEnd: (problem) => end(problem.message, () => reject(problem)) });
    for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => end("stopped by its owner", resolve));
    agent.start().then(() => process.stdout.write(`${connection.membership.node.name} offers ${offer.name} to ${connection.membership.node.swarm}\n`), (error) => end(error.message, () => reject(error)));
  });
}
/** One question on a connection of its own. */
async function asking(home, what) {
  home.lock();
  const connection = await connect(home);
  try { await what(connection); } finally { await connection.bus.close(); }
}
const COMMANDS = {
  join: joining,
  run: running,
  renew: (home) => asking(home, async ({ membership, endpoint }) => process.stdout.write(`good until ${new Date(await membership.renew(endpoint) * 1000).toISOString()}\n`)),
  async leave(home) {
    await asking(home, async ({ endpoint }) => {
      try { await endpoint.ask("enroll", "leave"); } catch (problem) {
        if (problem.code !== "E_DISCONNECTED") throw problem; // being cut off at this moment is what was asked for
      }
    });
    fs.rmSync(home.folder, { recursive: true, force: true });
    process.stdout.write("left the swarm\n");
  },
};

try {
  let parsed;
  try { parsed = parseArgs({ options: OPTIONS, allowPositionals: true }); } catch (error) { throw usage(error.message); }
  const [command, ...words] = parsed.positionals;
  if (!COMMANDS[command] || (command !== "join" && words.length)) throw usage("what shall be done?");
  await COMMANDS[command](new Home(parsed.values.home), parsed.values, words);
  process.exit(0);
} catch (error) {
  if (!(error instanceof Problem)) throw error;
  process.stderr.write(`${error.code}: ${error.message}\n${error.hint}\n`.trimEnd() + "\n");
  process.exit(error.code === "E_USAGE" ? 2 : 1);
}
