/** The agent's inside: serves requests of launchers by the same code that the cold path runs. */
import { clearAway } from '../cni/clear-away.ts';
import { ErrorCode } from '../cni/errors.ts';
import { lookAtNamespace, type NamespaceLook } from '../cni/namespace.ts';
import { type Outcome, runPlugin } from '../cni/skel.ts';
import type { Door } from '../netlink/door.ts';
import { isPluginName, PLUGIN_NAMES, type PluginName } from '../plugins/registry.ts';
import { deviceOf, placeOf } from './identity.ts';
import { KeptDoor } from './kept-door.ts';
import { Kits } from './kits.ts';
import { KnownConfigurations } from './known-configurations.ts';
import type { Request } from './protocol.ts';
import { Queues } from './queues.ts';
import { type Caller, requestAmbient } from './request-ambient.ts';

/** One request that was served. */
export interface Served {
  plugin: PluginName;
  command: string;
  containerId: string;
  ifname: string;
  status: number;
  /** The error's code (SPEC 1.1, "Error"); 0 when it succeeded. */
  code: number;
  /** Milliseconds that it waited for others of its container, and that it ran. */
  waited: number;
  ran: number;
  /** Milliseconds of `ran` in which the kernel was waited for. */
  kernel: number;
  /** Nobody took the answer any more; what an ADD had made was taken away again. */
  abandoned: boolean;
}

/** For log and metrics. */
export interface AgentHooks {
  served?(request: Served): void;
  /** What an answer did not wait for could not be done. */
  failedLate?(plugin: string, containerId: string, error: unknown): void;
}

/** Who asked, and whether the answer still reaches it. */
export interface WaitingCaller extends Caller {
  readonly gone: boolean;
  answer(outcome: Outcome): void;
}

/** A path or configuration that means something else in the caller's working folder than here. */
const RELATIVE_FOLDER = /"(?:dataDir|resolvConf)"\s*:\s*"[^/"]/i;
const OWN_FOLDERS = ['WEFT_DATA_DIR', 'WEFT_RUN_DIR', 'WEFT_CACHE_DIR', 'WEFT_CONF_DIR'];
const FOLDERS = [...OWN_FOLDERS, 'CNI_PATH', 'CNI_NETNS'];

/** Requests under way that take turns: the way to a worker thread and back takes longer than the kernel does. */
const MOST_IN_TURN = 8;

const isRelative = (folders: string) =>
  folders.split(':').some((folder) => folder !== '' && !folder.startsWith('/'));

export class Agent {
  readonly #door: KeptDoor;
  readonly #hooks: AgentHooks;
  readonly #containers = new Queues();
  #requests = 0;
  #underWay = 0;
  readonly #shared = { locks: new Queues(), kept: new Map<string, unknown>() };
  readonly #kits: Kits;
  readonly #ownNamespace = placeOf('/proc/self/ns/net');
  readonly #configurations = new KnownConfigurations();

  constructor(door: Door, hooks: AgentHooks = {}) {
    this.#door = new KeptDoor(door);
    this.#kits = new Kits(this.#door);
    this.#hooks = hooks;
  }

  /** Whether calls to the kernel are made on the event loop: not while so many requests wait that one of them would hold up all. */
  get isCalm(): boolean {
    return this.#underWay <= MOST_IN_TURN;
  }

  /** Requests that were taken and are not finished yet. */
  get underWay(): number {
    return this.#underWay;
  }

  /** Loads every plugin, so that the first request does not. */
  async warmUp(): Promise<void> {
    for (const kit of await Promise.all(PLUGIN_NAMES.map((name) => this.#kits.make(name))))
      this.#kits.giveBack(kit);
  }

  /** Why a request is left to the cold path; undefined when serve() may be called. Touches nothing. */
  objection({ names, netns, env, input }: Request): string | undefined {
    if (!names.some(isPluginName)) return `no plugin is called ${names.join(' or ')}`;
    if (placeOf(env.CNI_NETNS) !== netns) return 'CNI_NETNS leads elsewhere from here';
    // VERSION needs neither path nor namespace, and libcni says "dummy" for them: so do Podman and CRI-O, in nearly every command.
    const folders = env.CNI_COMMAND === 'VERSION' ? OWN_FOLDERS : FOLDERS;
    const relative = folders.find((key) => isRelative(env[key] ?? ''));
    if (relative !== undefined) return `${relative} is relative to a folder that is not the agent's`;
    if (RELATIVE_FOLDER.test(input))
      return "the configuration has a path relative to a folder that is not the agent's";
    return undefined;
  }

  /**
   * Serves a request that objection() has none against: in order for one container and plugin, side by side otherwise. What an ADD
   * made for a caller that went away is taken back, before anything else of that container is served. Throws what is a mistake of ours.
   */
  async serve(request: Request, caller: WaitingCaller): Promise<void> {
    const { env } = request;
    const name = request.names.find(isPluginName) as PluginName;
    const containerId = env.CNI_CONTAINERID ?? '';
    const came = performance.now();
    const work = async (): Promise<void> => {
      const started = performance.now();
      const late: (() => Promise<unknown>)[] = [];
      const ambient = requestAmbient(request, caller, this.#shared, (part) => void late.push(part));
      const kit = this.#kits.take(name) ?? (await this.#kits.make(name));
      const { plugin, door } = kit;
      const outcome = await runPlugin(plugin, ambient, {
        decode: (input, schema) => this.#configurations.decode(input, schema),
        look: (path) => this.#look(path),
      });
      const command = env.CNI_COMMAND ?? '';
      const abandoned = caller.gone;
      if (abandoned && command === 'ADD' && outcome.status === 0) await clearAway(plugin, ambient);
      const ran = performance.now() - started;
      // The caller need not wait for what is told of it.
      caller.answer(outcome);
      const finished = Promise.all(
        late.map((part) => part().catch((error) => this.#hooks.failedLate?.(name, containerId, error))),
      );
      this.#hooks.served?.({
        ...{ plugin: name, command, containerId, ifname: env.CNI_IFNAME ?? '', status: outcome.status },
        ...{ code: codeOf(outcome), kernel: door.spent, abandoned },
        ...{ waited: started - came, ran },
      });
      await finished;
      this.#kits.giveBack(kit);
    };
    this.#underWay += 1;
    // A delegate has its plugin's container and another name: it must not wait for the one that waits for it.
    const key = containerId === '' ? `request ${this.#requests++}` : `${name} ${containerId}`;
    try {
      await this.#containers.run(key, work);
    } finally {
      this.#underWay -= 1;
    }
  }

  /** Runs work while no request of a plugin for a container is served, and lets them wait. */
  inTurn<T>(plugin: string, containerId: string, work: () => Promise<T>): Promise<T> {
    return this.#containers.run(`${plugin} ${containerId}`, work);
  }

  /** As lookAtNamespace, which says why where there is nothing; without Node's numbers of unlimited size. */
  #look(path: string): NamespaceLook {
    const there = placeOf(path);
    if (there === '' || this.#ownNamespace === '') return lookAtNamespace(path);
    if (there === this.#ownNamespace) return { state: 'own' };
    return { state: deviceOf(there) === deviceOf(this.#ownNamespace) ? 'other' : 'foreign' };
  }

  /** Resolves when all that was taken is done. */
  async idle(): Promise<void> {
    await this.#containers.idle();
  }

  close(): void {
    this.#door.close();
  }
}

/** What the answer says; read only where there is an error. */
function codeOf({ status, stdout }: Outcome): number {
  if (status === 0) return 0;
  try {
    return Number(JSON.parse(stdout).code);
  } catch {
    return ErrorCode.internal;
  }
}
