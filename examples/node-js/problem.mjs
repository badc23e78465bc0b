// What goes wrong, in words: a code for programs, what happened, and what to do next.
export class Problem extends Error {
  constructor(code, message, hint = "") {
    super(message);
    Object.assign(this, { code, hint });
  }
}
export const log = (...words) => process.stderr.write(`${new Date().toISOString()} ${words.join(" ")}\n`);
