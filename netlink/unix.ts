/** What Node's Unix sockets do not offer. */
import { loadNative, withCode } from './native.ts';

/** Sends one datagram to a Unix socket; '@' in front stands for an abstract name (unix(7)). Throws an Error with `code`. */
export function sendDatagram(path: string, text: string): void {
  try {
    loadNative().sendDatagram(path, text);
  } catch (error) {
    throw withCode(error, `send to ${path}`);
  }
}
