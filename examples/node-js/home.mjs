// The device's own folder: keys and memory, each file of mode 0600, replaced as a whole and on the disk before anything is said about it.
import fs from "node:fs";
import path from "node:path";
import { Problem } from "./problem.mjs";

export class Home {
  constructor(folder) { this.folder = path.resolve(folder); }
  at(name) { return path.join(this.folder, name); }
  has(name) { return fs.existsSync(this.at(name)); }
  make() {
    fs.mkdirSync(this.folder, { recursive: true, mode: 0o700 });
    fs.chmodSync(this.folder, 0o700);
  }
  read(name) {
    let file;
    try {
      file = fs.openSync(this.at(name), "r");
      if (fs.fstatSync(file).mode & 0o077) throw new Problem("E_MODE", `${this.at(name)} can be read by others`, "chmod 600 it; if it is a key, leave and join again.");
      return fs.readFileSync(file);
    } catch (error) {
      if (error instanceof Problem) throw error;
      throw new Problem("E_HOME", `${this.at(name)} cannot be read (${error.code})`, "Is this the folder that joined? Join first, or join again.");
    } finally { if (file !== undefined) fs.closeSync(file); }
  }
  json(name, otherwise) {
    if (otherwise !== undefined && !this.has(name)) return otherwise;
    try { return JSON.parse(this.read(name).toString("utf8")); } catch (error) {
      if (error instanceof Problem) throw error;
      throw new Problem("E_HOME", `${this.at(name)} is damaged`, "Leave with `main.mjs leave`, and join again by a new invite.");
    }
  }
  write(name, data) {
    const place = this.at(name), beside = `${place}.new`;
    const file = fs.openSync(beside, "w", 0o600);
    try {
      fs.fchmodSync(file, 0o600);
      fs.writeFileSync(file, data);
      fs.fsyncSync(file);
    } finally { fs.closeSync(file); }
    fs.renameSync(beside, place);
  }
  save(name, value) { this.write(name, JSON.stringify(value)); }
  remove(name) { fs.rmSync(this.at(name), { force: true, recursive: true }); }
  /** Only one process at a time: two would sign with one memory each. */
  lock() {
    const mine = this.at("lock");
    for (;;) {
      try { fs.writeFileSync(mine, String(process.pid), { flag: "wx", mode: 0o600 }); break; } catch (error) {
        if (error.code !== "EEXIST") throw new Problem("E_HOME", `${this.folder} cannot be written (${error.code})`, "Run as the user that owns it.");
        const pid = Number(fs.readFileSync(mine, "utf8"));
        if (pid !== process.pid && alive(pid)) throw new Problem("E_BUSY", `process ${pid} works with ${this.folder} already`, "Stop it, or use another --home.");
        fs.rmSync(mine, { force: true });
      }
    }
    process.once("exit", () => fs.rmSync(mine, { force: true }));
  }
}
function alive(pid) {
  try { return pid > 0 && process.kill(pid, 0); } catch (error) { return error.code === "EPERM"; }
}
