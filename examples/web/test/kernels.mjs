// kernels.mjs MODULE [--bench] - runs check_simd.c, compiled to MODULE, under Node.
import { readFileSync } from 'node:fs';

const memory = new WebAssembly.Memory({ initial: 64, maximum: 65536 });
const text = (at, size) => Buffer.from(memory.buffer, at >>> 0, size).toString();
const host = {
  now: () => performance.now(),
  print: (at, size) => process.stdout.write(text(at, size)),
  exit: (status) => process.exit(status),
  number(at, capacity, x, digits) {
    const shown = Number.isFinite(x) ? String(Number(x.toPrecision(Math.max(1, digits)))) : String(x);
    const bytes = Buffer.from(shown).subarray(0, capacity);
    new Uint8Array(memory.buffer).set(bytes, at >>> 0);
    return bytes.length;
  },
};
const module = new WebAssembly.Module(readFileSync(process.argv[2]));
const { exports } = new WebAssembly.Instance(module, { env: { memory }, host });
const seed = Date.now() >>> 0;
const status = process.argv[3] === '--bench' ? exports.bench() : exports.run(seed) | exports.bits(seed);
if (status === 0 && process.argv[3] !== '--bench') {
  console.log('every entry of simd128 as the oracle has it, and bit for bit as the reference');
}
process.exit(status);
