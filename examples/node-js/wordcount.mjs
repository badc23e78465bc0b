// The capability that this example offers: how many lines and words a text has, how many different ones, and which are the most frequent.
// A module of your own in its place exports the same four names (`node main.mjs run --work MODULE`).
export const name = "text.wordcount";
export const description = "Lines, words and the most frequent words of texts";
/** What is counted once, at the first start, to know what a bid would cost here. */
export const sample = () => Buffer.from("It was the best of times, it was the worst of times. \n".repeat(5000));
const FREQUENT = 10;

function count(text) {
  const words = text.normalize("NFC").toLowerCase().match(/[\p{L}\p{N}]+(?:['’][\p{L}\p{N}]+)*/gu) ?? [];
  const times = new Map();
  for (const word of words) times.set(word, (times.get(word) ?? 0) + 1);
  const frequent = [...times].sort(([a, n], [b, m]) => m - n || (a < b ? -1 : 1)).slice(0, FREQUENT);
  return { lines: text.split("\n").length - (text.endsWith("\n") || !text ? 1 : 0), words: words.length, different: times.size, frequent };
}
export async function work(job) {
  const files = [];
  for (const [number, input] of job.inputs.entries()) {
    const bytes = input.bytes();
    let text;
    try { text = new TextDecoder("utf-8", { fatal: true }).decode(bytes); } catch { throw Object.assign(new Error(`${input.name} is not text in UTF-8`), { code: "E_INPUT" }); }
    files.push({ name: input.name, bytes: bytes.length, ...count(text) });
    job.progress((number + 1) / job.inputs.length, input.name);
  }
  job.output("wordcount.json", `${JSON.stringify({ files, words: files.reduce((total, file) => total + file.words, 0) }, null, 2)}\n`, "application/json");
}
