/** Runs a program of classic BPF on an Ethernet frame, as the kernel does: the instructions that filters of flows are made of. */

/** Bytes of the packet that it takes; 0 also where it reads beyond the end. Throws Error for what the kernel would not load. */
export function run(program: Uint8Array, frame: Uint8Array): number {
  const code = new DataView(program.buffer, program.byteOffset, program.length);
  const count = program.length / 8;
  if (count > 4096) throw new Error(`${count} instructions`);
  const bytes = new DataView(frame.buffer, frame.byteOffset, frame.length);
  const memory: number[] = [];
  let [a, x] = [0, 0];
  const load = (offset: number, size: 1 | 2 | 4): number => {
    if (offset === -0x1000) return bytes.getUint16(12);
    const at = 14 + (offset + 0x100000);
    return size === 1 ? bytes.getUint8(at) : size === 2 ? bytes.getUint16(at) : bytes.getUint32(at);
  };
  try {
    for (let at = 0; at < count; at++) {
      const [op, yes, no] = [
        code.getUint16(at * 8, true),
        code.getUint8(at * 8 + 2),
        code.getUint8(at * 8 + 3),
      ];
      const k = code.getInt32(at * 8 + 4, true);
      if (op === 0x28) a = load(k, 2);
      else if (op === 0x40) a = load(k + x, 4);
      else if (op === 0x48) a = load(k + x, 2);
      else if (op === 0x50) a = load(k + x, 1);
      else if (op === 0x00) a = k;
      else if (op === 0x61) x = memory[k] ?? Number.NaN;
      else if (op === 0x03) memory[k] = x;
      else if (op === 0x54) a &= k;
      else if (op === 0x04) a += k;
      else if (op === 0x0c) a += x;
      else if (op === 0x64) a <<= k;
      else if (op === 0x07) x = a;
      else if (op === 0x87) a = x;
      else if (op === 0x15) at += a === k >>> 0 ? yes : no;
      else if (op === 0x05) {
        if (k < 0 || at + 1 + k >= count) throw new Error(`jumps by ${k}`);
        at += k;
      } else if (op === 0x06) return k;
      else throw new Error(`instruction ${op.toString(16)}`);
    }
  } catch (error) {
    if (error instanceof RangeError) return 0;
    throw error;
  }
  throw new Error('no return');
}
