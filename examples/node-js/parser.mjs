// The NATS client protocol from server to client: bytes in, operations out. A server that breaks it, or floods, is an error.
const MAX_LINE = 65536, MAX_MESSAGE = 8 << 20;
const CRLF = "\r\n";

/** Headers of a message: its status, and the values by lower-case name. */
function headersOf(block) {
  const [first, ...lines] = block.toString("utf8").split(CRLF);
  const headers = new Map(lines.filter(Boolean).map((line) => [line.slice(0, line.indexOf(":")).toLowerCase(), line.slice(line.indexOf(":") + 1).trim()]));
  return { status: first.split(" ")[1] ?? "", headers };
}

export class Parser {
  #held = Buffer.alloc(0);
  #message = null;
  constructor(on) { this.on = on; }

  feed(chunk) {
    this.#held = this.#held.length ? Buffer.concat([this.#held, chunk]) : chunk;
    while (this.#message ? this.#payload() : this.#line());
  }
  #line() {
    const end = this.#held.indexOf(CRLF);
    if (end < 0) {
      if (this.#held.length > MAX_LINE) throw new Error("the server sent a line without an end");
      return false;
    }
    const line = this.#held.toString("latin1", 0, end);
    this.#held = this.#held.subarray(end + 2);
    const [operation] = line.split(/[ \t]/, 1), rest = line.slice(operation.length).trim();
    switch (operation.toUpperCase()) {
      case "INFO": this.on.info(JSON.parse(Buffer.from(rest, "latin1").toString("utf8"))); break;
      case "PING": this.on.ping(); break;
      case "PONG": this.on.pong(); break;
      case "+OK": break;
      case "-ERR": this.on.refused(rest.replace(/^'|'$/g, "")); break;
      case "MSG": case "HMSG": this.#begin(operation.toUpperCase() === "HMSG", rest.split(/[ \t]+/)); break;
      default: throw new Error(`the server said ${JSON.stringify(operation.slice(0, 20))}`);
    }
    return true;
  }
  #begin(withHeaders, words) {
    const size = Number(words.pop()), head = withHeaders ? Number(words.pop()) : 0;
    const [subject, sid, reply = ""] = words;
    if (!(size >= head && head >= 0 && size <= MAX_MESSAGE) || words.length < 2) throw new Error("the server sent a message of no possible size");
    this.#message = { subject, sid, reply, head, size };
  }
  #payload() {
    const { subject, sid, reply, head, size } = this.#message;
    if (this.#held.length < size + 2) return false;
    const message = { subject, reply, status: "", headers: new Map(), data: Buffer.from(this.#held.subarray(head, size)) };
    if (head) Object.assign(message, headersOf(this.#held.subarray(0, head)));
    this.#held = this.#held.subarray(size + 2);
    this.#message = null;
    this.on.message(sid, message);
    return true;
  }
}
