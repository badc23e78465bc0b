// One TLS connection to the swarm's bus (BUS-1): TLS from the first byte, and nothing is sent before the server has shown whose it is.
import crypto from "node:crypto";
import tls from "node:tls";
import { Problem } from "./problem.mjs";

const NAME = "swarm.internal", CONNECT_MS = 5000;
const spki = (certificate) => crypto.createHash("sha256").update(certificate.publicKey.export({ type: "spki", format: "der" })).digest();
export const pinOf = (der) => spki(new crypto.X509Certificate(der)).subarray(0, 16);
const pem = (der) => `-----BEGIN CERTIFICATE-----\n${der.toString("base64").replace(/.{64}/g, "$&\n")}\n-----END CERTIFICATE-----\n`;

/** The DER of the authority with this pin, if the chain that the server showed leads to it. */
function pinned(socket, pin, nowMs) {
  const foreign = (why) => new Problem("E_PIN", `the server is not this swarm's bus: ${why}`, "Check the address; ask for a new invite.");
  let at = socket.getPeerX509Certificate();
  if (!at?.checkHost(NAME)) throw foreign("its certificate has another name");
  for (let depth = 0; depth < 5; depth++) {
    if (Date.parse(at.validFrom) > nowMs || Date.parse(at.validTo) < nowMs) throw foreign("its certificate is not valid now (is this device's clock right?)");
    const above = at.issuerCertificate;
    if (!above || !at.checkIssued(above) || !at.verify(above.publicKey) || !above.ca) throw foreign("its certificates do not hang together");
    if (spki(above).subarray(0, 16).equals(pin)) return above.raw;
    if (above.fingerprint256 === at.fingerprint256) break;
    at = above;
  }
  throw foreign("its certificate does not lead to the authority that the invite pins");
}

/** A socket to `tls://host:port`; `trust` is { pin } for who joins and { ca } (DER) for a member. Throws Problem. */
export function dial(url, trust) {
  const { host, port } = where(url);
  return new Promise((resolve, reject) => {
    const options = trust.ca ? { ca: pem(trust.ca) } : { rejectUnauthorized: false };
    const socket = tls.connect({ host, port, servername: NAME, minVersion: "TLSv1.3", ...options });
    const fail = (problem) => { socket.destroy(); reject(problem); };
    socket.setTimeout(CONNECT_MS, () => fail(unreachable(url, "no answer")));
    socket.once("error", (error) => fail(explain(url, error)));
    socket.once("secureConnect", () => {
      try { socket.authority = trust.ca ?? pinned(socket, trust.pin, Date.now()); } catch (problem) { return fail(problem); }
      socket.setTimeout(0);
      socket.removeAllListeners("error");
      socket.setNoDelay(true);
      return resolve(socket);
    });
  });
}
export function where(url) {
  const found = url.match(/^tls:\/\/(?:\[([0-9a-f:]+)\]|([^:/]+)):(\d{1,5})$/i);
  if (!found) throw new Problem("E_ADDRESS", `${url} is no address of a bus`, "It looks like tls://192.168.1.7:4747.");
  return { host: found[1] ?? found[2], port: Number(found[3]) };
}
const unreachable = (url, why) => new Problem("E_UNREACHABLE", `the bus at ${url.slice(6)} cannot be reached: ${why}`, "Is the swarm's first device on, and on this network?");
function explain(url, error) {
  if (error.code === "ECONNREFUSED") return unreachable(url, "nothing listens there");
  if (error.code === "ENOTFOUND" || error.code === "EAI_AGAIN") return unreachable(url, "no such host name");
  if (/CERT|SELF_SIGNED|ISSUER|ALTNAME|SIGNATURE/.test(error.code ?? "")) return new Problem("E_PIN", `the server at ${url.slice(6)} is not this swarm's bus (${error.message})`, "Check the address.");
  if (/^ERR_SSL/.test(error.code ?? "")) return unreachable(url, "what answers there is not a swarm's bus");
  return unreachable(url, error.message || error.code || "the connection was ended before TLS was set up");
}
