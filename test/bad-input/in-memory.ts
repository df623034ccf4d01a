/** The plugins asked in this process, over a kernel in which nothing is: for what they refuse before they would touch it. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import { CniError, ErrorCode } from '../../cni/errors.ts';
import { runPlugin } from '../../cni/skel.ts';
import * as files from '../../netlink/files.ts';
import { loadPlugin, type PluginName } from '../../plugins/registry.ts';
import { noisyDoor } from './noisy-door.ts';
import type { Answer, Place } from './place.ts';

/** Snapshots say which files there are, and which namespaces were opened by other commands than DEL. */
export function inMemory(t: Test): Pick<Place, 'call' | 'snapshot'> {
  const root = t.testdir();
  const opened: string[] = [];
  const right = {
    CNI_CONTAINERID: 'c1',
    CNI_NETNS: '/run/netns/c1',
    CNI_IFNAME: 'eth0',
    CNI_PATH: join(root, 'bin'),
  };
  return {
    async call({ plugin, command = 'ADD', input = {}, env = {} }): Promise<Answer> {
      const door = {
        async open(path = 'the host') {
          if (command !== 'DEL') opened.push(`${command} opened ${path}`);
          return noisyDoor([]).open(path);
        },
      };
      const verbs = await loadPlugin(plugin as PluginName, { door, hostNetns: '/none' });
      const ambient = {
        env: { ...right, CNI_COMMAND: command, ...env },
        paths: {
          ...{ dataDir: join(root, 'data'), runDir: join(root, 'run') },
          ...{ cacheDir: join(root, 'cache'), confDir: join(root, 'conf') },
        },
        input: async () => (typeof input === 'string' ? input : JSON.stringify(input)),
        log: () => {},
        now: () => 0,
        hostId: () => 'host',
        lock: async () => () => {},
        files,
        async run(file: string): Promise<never> {
          throw new CniError(ErrorCode.program, `cannot start ${file}`);
        },
      };
      const { status, stdout, stderr } = await runPlugin(verbs, ambient, {
        look: () => ({ state: 'other' }),
      });
      return { status, stdout, stderr, json: stdout === '' ? undefined : JSON.parse(stdout) };
    },
    snapshot: async () => [...(readdirSync(root, { recursive: true }) as string[]), ...opened],
  };
}
