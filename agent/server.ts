/** The agent's socket: one for each run folder, root's alone. */
import { chmodSync, renameSync, statSync, unlinkSync } from 'node:fs';
import path from 'node:path';
import { makeFolder } from '../cni/folder.ts';
import { RequestListener } from '../netlink/listener.ts';
import { tryLock } from '../netlink/lock.ts';
import type { Agent } from './agent.ts';
import { type Reception, take } from './connection.ts';
import type { Refusal } from './events.ts';
import { LONGEST_REQUEST } from './protocol.ts';

const SOCKET = 'agent.sock';
/** sockaddr_un, with the zero at its end (unix(7)). */
const LONGEST_PATH = 107;
/** What all callers together may take; those beyond go the cold path. Bytes, and milliseconds without one. */
const LIMITS = { mostCallers: 1024, mostHeld: 64 * 1024 * 1024, longest: LONGEST_REQUEST, patience: 10_000 };

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
  readonly #listener: RequestListener;
  readonly #agent: Agent;
  readonly #release: () => void;
  readonly #inode: bigint;

  private constructor(agent: Agent, listener: RequestListener, socketPath: string, release: () => void) {
    this.socketPath = socketPath;
    this.#agent = agent;
    this.#listener = listener;
    this.#release = release;
    this.#inode = statSync(socketPath, { bigint: true }).ino;
  }

  /** Listens. Throws CannotListen when another agent does, or the folder cannot be used. */
  static open({ agent, runDir, identity, odd }: ServerOptions): AgentServer {
    const socketPath = path.join(runDir, SOCKET);
    if (Buffer.byteLength(`${socketPath}.new`) > LONGEST_PATH) {
      throw new CannotListen(`${socketPath} is too long for a socket: choose another WEFT_RUN_DIR`);
    }
    const release = takeFolder(runDir);
    let listener: RequestListener | undefined;
    try {
      // Made beside its place: whoever finds the name finds a socket that listens and is root's alone.
      listener = listen(`${socketPath}.new`, identity, { agent, odd });
      chmodSync(`${socketPath}.new`, 0o600);
      renameSync(`${socketPath}.new`, socketPath);
      return new AgentServer(agent, listener, socketPath, release);
    } catch (error) {
      listener?.close();
      release();
      throw new CannotListen(`cannot listen on ${socketPath}: ${(error as Error).message}`, { cause: error });
    }
  }

  /** Takes no more requests, finishes those that were taken, and removes the socket. */
  async close(): Promise<void> {
    this.#removeSocket();
    this.#listener.close();
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

function listen(file: string, identity: string, reception: Reception): RequestListener {
  try {
    unlinkSync(file);
  } catch {
    // The ordinary case: no agent was killed in this very moment.
  }
  return new RequestListener(
    file,
    { identity, ...LIMITS },
    { request: (...asked) => take(...asked, reception), odd: reception.odd },
  );
}
