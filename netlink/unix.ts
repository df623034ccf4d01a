/** What Node's Unix sockets do not offer. */
import { loadNative, withCode } from './native.ts';

export interface Peer {
  /** As our PID namespace sees it; 0 when it does not. */
  pid: number;
  /** As our user namespace sees it. */
  uid: number;
}

/** Who is at the other end of a connected Unix socket: unix(7), SO_PEERCRED. Throws an Error with `code`. */
export function peerOf(fd: number): Peer {
  try {
    return loadNative().peerOf(fd);
  } catch (error) {
    throw withCode(error, 'ask who has connected');
  }
}

/** Sends one datagram to a Unix socket; '@' in front stands for an abstract name (unix(7)). Throws an Error with `code`. */
export function sendDatagram(path: string, text: string): void {
  try {
    loadNative().sendDatagram(path, text);
  } catch (error) {
    throw withCode(error, `send to ${path}`);
  }
}
