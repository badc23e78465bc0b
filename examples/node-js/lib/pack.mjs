// Bodies on their way out (BODY-6: the shortest encoding). Whole numbers become integers, Buffers bin, objects and Maps maps.
import { cat } from "./wire.mjs";

const head = (...bytes) => Buffer.from(bytes);
function sized(code, size, value) {
  const made = Buffer.alloc(1 + size);
  made[0] = code;
  if (size === 8) made.writeBigUInt64BE(BigInt.asUintN(64, BigInt(value)), 1);
  else made.writeUIntBE(Number(BigInt.asUintN(8 * size, BigInt(value))), 1, size);
  return made;
}
function integer(value) {
  const big = BigInt(value);
  if (big < -(2n ** 63n) || big >= 2n ** 63n) throw new RangeError("an integer has at most 63 bits and a sign (BODY-4)");
  if (big >= 0n) return big < 128n ? head(Number(big)) : sized(...(big < 256n ? [0xcc, 1] : big < 65536n ? [0xcd, 2] : big < 2n ** 32n ? [0xce, 4] : [0xcf, 8]), big);
  return big >= -32n ? head(256 + Number(big)) : sized(...(big >= -128n ? [0xd0, 1] : big >= -32768n ? [0xd1, 2] : big >= -(2n ** 31n) ? [0xd2, 4] : [0xd3, 8]), big);
}
function length(size, fixed, most, codes) {
  if (size <= most) return head(fixed | size);
  return size < 256 && codes[0] ? sized(codes[0], 1, size) : size < 65536 ? sized(codes[1], 2, size) : sized(codes[2], 4, size);
}
function float(value) {
  if (!Number.isFinite(value)) throw new RangeError("a float is finite (BODY-4)");
  const made = Buffer.alloc(9, 0xcb);
  made.writeDoubleBE(value, 1);
  return made;
}
export function encode(value) {
  if (value === null || value === undefined) return head(0xc0);
  if (typeof value === "boolean") return head(value ? 0xc3 : 0xc2);
  if (typeof value === "bigint" || Number.isSafeInteger(value)) return integer(value);
  if (typeof value === "number") return float(value);
  if (typeof value === "string") { const bytes = Buffer.from(value); return cat(length(bytes.length, 0xa0, 31, [0xd9, 0xda, 0xdb]), bytes); }
  if (Buffer.isBuffer(value)) return cat(length(value.length, 0, -1, [0xc4, 0xc5, 0xc6]), value);
  if (Array.isArray(value)) return cat(length(value.length, 0x90, 15, [0, 0xdc, 0xdd]), ...value.map(encode));
  const entries = value instanceof Map ? [...value] : Object.entries(value).filter(([, item]) => item !== undefined);
  return cat(length(entries.length, 0x80, 15, [0, 0xde, 0xdf]), ...entries.flatMap(([key, item]) => [encode(key), encode(item)]));
}
