/** A growing, zero-filled byte buffer: what messages are written into. */

/** Netlink speaks the host's byte order, except where a family says otherwise. */
export const LITTLE_ENDIAN = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;

/** Attributes and messages start at multiples of four bytes (NLA_ALIGNTO, NLMSG_ALIGNTO). */
export function align(length: number): number {
  return (length + 3) & ~3;
}

export class Writer {
  // Of the pool: memory of its own for each message costs more than writing it.
  #bytes: Uint8Array = Buffer.allocUnsafe(512).fill(0);
  view = new DataView(this.#bytes.buffer, this.#bytes.byteOffset, this.#bytes.length);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** Appends `size` zero bytes and returns where they start. */
  reserve(size: number): number {
    const at = this.#length;
    this.#length += size;
    if (this.#length > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(this.#length, this.#bytes.length * 2));
      larger.set(this.#bytes);
      this.#bytes = larger;
      this.view = new DataView(larger.buffer);
    }
    return at;
  }

  append(bytes: Uint8Array): void {
    const at = this.reserve(bytes.length);
    this.#bytes.set(bytes, at);
  }

  align(): void {
    this.reserve(align(this.#length) - this.#length);
  }

  /** What was written; nothing may be appended any more. */
  finish(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }
}
