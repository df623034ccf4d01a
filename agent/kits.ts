/** Plugins, each with a door of its own that counts the kernel's time, from one request to the next. */
import type { PluginVerbs } from '../cni/plugin.ts';
import type { Door } from '../netlink/door.ts';
import { loadPlugin, type PluginName } from '../plugins/registry.ts';
import { TimedDoor } from './timed-door.ts';

/** More of a plugin than that many are not kept. */
const MOST_KEPT = 8;

/** For one request at a time: the door's clock is that request's. */
export interface Kit {
  readonly name: PluginName;
  readonly plugin: PluginVerbs;
  readonly door: TimedDoor;
}

export class Kits {
  readonly #door: Door;
  readonly #free = new Map<PluginName, Kit[]>();

  constructor(door: Door) {
    this.#door = door;
  }

  /** One that is free, its clock at zero; undefined when there is none: then make() one. */
  take(name: PluginName): Kit | undefined {
    const kit = this.#free.get(name)?.pop();
    kit?.door.reset();
    return kit;
  }

  async make(name: PluginName): Promise<Kit> {
    const door = new TimedDoor(this.#door);
    return { name, door, plugin: await loadPlugin(name, { door }) };
  }

  /** When nothing of the request is under way any more. */
  giveBack(kit: Kit): void {
    const free = this.#free.get(kit.name) ?? [];
    this.#free.set(kit.name, free);
    if (free.length < MOST_KEPT) free.push(kit);
  }
}
