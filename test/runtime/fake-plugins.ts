/** A runtime's surroundings in a temporary folder, with plugins that write down what they were given. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Ambient } from '../../cni/ambient.ts';
import { realAmbient } from '../../runtime/ambient.ts';
import type { Caller } from '../../runtime/execution.ts';

/** One call of a fake plugin. */
export interface Call {
  plugin: string;
  command: string;
  env: Record<string, string>;
  // biome-ignore lint/suspicious/noExplicitAny: whatever a plugin is given; the assertions say what
  conf: any;
}

export interface Ground {
  root: string;
  bin: string;
  conf: string;
  cache: string;
  ambient: Ambient;
  caller: Caller;
  logged: string[];
  /** Every call so far, in order. */
  calls(): Call[];
  /** Writes an executable plugin; `script` runs after the call was written down, with the configuration in $conf. */
  plugin(name: string, script?: string): void;
  /** A file in the configuration folder. */
  write(name: string, content: unknown): string;
}

const RECORDER = `#!/bin/bash
conf=$(cat)
{
  printf '%s\\0' "\${0##*/}" "$CNI_COMMAND" "$conf"
  env | grep '^CNI_' | sort
  printf '\\0\\0'
} >>"$RECORD"
`;

/** What a plugin does unless a test says more: ADD prints a result, VERSION the versions. */
const DEFAULT_SCRIPT = `
case $CNI_COMMAND in
ADD) echo '{"cniVersion":"1.0.0","ips":[{"address":"10.1.0.2/16"}]}' ;;
VERSION) echo '{"cniVersion":"1.1.0","supportedVersions":["0.4.0","1.0.0","1.1.0"]}' ;;
esac
`;

export function makeGround(t: { teardown(fn: () => void): void }): Ground {
  const root = mkdtempSync(join(tmpdir(), 'weft-runtime-'));
  t.teardown(() => rmSync(root, { recursive: true, force: true }));
  const [bin, conf, cache, run] = ['bin', 'conf', 'cache', 'run'].map((name) => join(root, name)) as [
    string,
    string,
    string,
    string,
  ];
  for (const folder of [bin, conf]) mkdirSync(folder);
  const record = join(root, 'record');
  writeFileSync(record, '');
  const env = {
    PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
    RECORD: record,
    WEFT_CACHE_DIR: cache,
    WEFT_CONF_DIR: conf,
    WEFT_RUN_DIR: run,
    WEFT_DATA_DIR: join(root, 'data'),
  };
  const logged: string[] = [];
  const ambient: Ambient = { ...realAmbient(env), log: (line) => logged.push(line) };
  return {
    root,
    bin,
    conf,
    cache,
    ambient,
    caller: { ambient, path: [bin] },
    logged,
    calls: () => parseRecord(readFileSync(record, 'utf8')),
    plugin: (name, script = DEFAULT_SCRIPT) => {
      writeFileSync(join(bin, name), RECORDER + script, { mode: 0o755 });
    },
    write: (name, content) => {
      const path = join(conf, name);
      mkdirSync(join(path, '..'), { recursive: true });
      writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content));
      return path;
    },
  };
}

function parseRecord(text: string): Call[] {
  return text
    .split('\0\0')
    .filter((part) => part !== '')
    .map((part) => {
      const [plugin = '', command = '', conf = '', env = ''] = part.split('\0');
      const variables = env
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)] as const);
      return {
        plugin,
        command,
        conf: conf === '' ? undefined : JSON.parse(conf),
        env: Object.fromEntries(variables),
      };
    });
}
