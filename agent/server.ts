/** The agent's socket: one for each run folder, root's alone. */
import { chmodSync, renameSync, statSync, unlinkSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import path from 'node:path';
import { makeFolder } from '../cni/folder.ts';
import { tryLock } from '../netlink/lock.ts';
import type { Agent } from './agent.ts';
import { Connection } from './connection.ts';
import type { Refusal } from './events.ts';
import { standing } from './identity.ts';
import { FRAME, frame } from './protocol.ts';

const SOCKET = 'agent.sock';
/** sockaddr_un, with the zero at its end (unix(7)). */
const LONGEST_PATH = 107;
/** Callers at once; more wait in the socket's queue, or go the cold path. */
const MOST_CONNECTIONS = 1024;
/** Bytes of requests at once. */
const MOST_HELD = 64 * 1024 * 1024;

export interface ServerOptions {
  agent: Agent;
  runDir: string;
  /** agent/identity.ts: ownIdentity(). */
  identity: string;
  odd(reason: string, why: Refusal): void;
}

/** Why there is no agent; for people. */
export class CannotListen extends Error {
  override readonly name = 'CannotListen';
}

export class AgentServer {
  readonly socketPath: string;
  readonly #server: Server;
  readonly #agent: Agent;
  readonly #connections = new Set<Connection>();
  readonly #release: () => void;
  readonly #inode: bigint;

  private constructor(options: ServerOptions, server: Server, socketPath: string, release: () => void) {
    this.socketPath = socketPath;
    this.#agent = options.agent;
    this.#server = server;
    this.#release = release;
    this.#inode = statSync(socketPath, { bigint: true }).ino;
    let held = 0;
    const reception = {
      agent: options.agent,
      greeting: frame(FRAME.greeting, options.identity),
      standing: standing('/proc/self'),
      odd: options.odd,
      mayHold: (bytes: number) => {
        if (held + bytes > MOST_HELD) return false;
        held += bytes;
        return true;
      },
    };
    server.maxConnections = MOST_CONNECTIONS;
    server.on('connection', (socket: Socket) => {
      const connection = new Connection(socket, reception);
      this.#connections.add(connection);
      socket.on('close', () => this.#connections.delete(connection));
    });
  }

  /** Listens. Throws CannotListen when another agent does, or the folder cannot be used. */
  static async open(options: ServerOptions): Promise<AgentServer> {
    const { runDir } = options;
    const socketPath = path.join(runDir, SOCKET);
    if (Buffer.byteLength(`${socketPath}.new`) > LONGEST_PATH) {
      throw new CannotListen(`${socketPath} is too long for a socket: choose another WEFT_RUN_DIR`);
    }
    const release = takeFolder(runDir);
    try {
      // Made beside its place: whoever finds the name finds a socket that listens and is root's alone.
      const server = createServer();
      await listen(server, `${socketPath}.new`);
      chmodSync(`${socketPath}.new`, 0o600);
      renameSync(`${socketPath}.new`, socketPath);
      return new AgentServer(options, server, socketPath, release);
    } catch (error) {
      release();
      throw new CannotListen(`cannot listen on ${socketPath}: ${(error as Error).message}`, { cause: error });
    }
  }

  /** Takes no more requests, finishes those that were taken, and removes the socket. */
  async close(): Promise<void> {
    this.#removeSocket();
    this.#server.close();
    for (const connection of this.#connections) connection.stop();
    await this.#agent.idle();
    this.#agent.close();
    this.#release();
  }

  #removeSocket(): void {
    try {
      // The folder may have been given to another agent by hand.
      if (statSync(this.socketPath, { bigint: true }).ino === this.#inode) unlinkSync(this.socketPath);
    } catch {
      // Gone already.
    }
  }
}

/** The folder for one agent alone, until released or until this process ends, however it ends. */
function takeFolder(runDir: string): () => void {
  try {
    makeFolder(runDir, 0o700);
    chmodSync(runDir, 0o700);
    const release = tryLock(path.join(runDir, 'agent.lock'));
    if (release) return release;
  } catch (error) {
    throw new CannotListen(`cannot use the folder ${runDir}: ${(error as Error).message}`, { cause: error });
  }
  throw new CannotListen(`an agent runs already in ${runDir}: stop it first, or choose another WEFT_RUN_DIR`);
}

function listen(server: Server, file: string): Promise<void> {
  try {
    unlinkSync(file);
  } catch {
    // The ordinary case: no agent was killed in this very moment.
  }
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(file, () => {
      server.off('error', reject);
      resolve();
    });
  });
}
