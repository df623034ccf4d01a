/** A plugin and surroundings in memory: what a test of the protocol needs. */
import { Ajv } from 'ajv';
import type { FromSchema, JSONSchema } from 'json-schema-to-ts';
import type { Ambient, Files, RunOptions, RunResult } from '../../cni/ambient.ts';
import { configSchema, type Validate } from '../../cni/config.ts';
import type { LookAtNamespace } from '../../cni/namespace.ts';
import type { PluginVerbs } from '../../cni/plugin.ts';
import { capability, linkName, mtu, netConfProperties, netConfRequired, route } from '../../cni/schema.ts';
import { runPlugin } from '../../cni/skel.ts';
import type { Result } from '../../cni/types.ts';

const touched = (): never => {
  throw new Error('this test touches no files');
};

const NO_FILES: Files = {
  lookAtFolder: touched,
  dateFolder: touched,
  overwrite: touched,
  claim: touched,
  retire: touched,
  replace: touched,
};

export const sampleSchema = {
  type: 'object',
  required: [...netConfRequired],
  properties: {
    ...netConfProperties,
    bridge: linkName,
    isGateway: { type: 'boolean' },
    mtu,
    mode: { type: 'string', enum: ['open', 'isolated'] },
    label: { type: 'string', maxLength: 5 },
    size: { anyOf: [{ type: 'integer', minimum: 1 }, { type: 'string' }] },
    where: {
      oneOf: [
        { type: 'string', enum: ['here', 'there'] },
        { type: 'object', required: ['x'], properties: { x: { type: 'integer', maximum: 9 } } },
      ],
    },
    tags: { type: 'array', items: { type: 'string' }, uniqueItems: true, maxItems: 3 },
    routes: { type: 'array', items: route },
    runtimeConfig: { type: 'object', properties: capability },
  },
} as const satisfies JSONSchema;

export type SampleConf = FromSchema<typeof sampleSchema>;

/** The validator as ajv makes it in memory; the generated form is tested in validators.test.ts. */
export function compiled(schema: object): Validate {
  const ajv = new Ajv({ allErrors: true, messages: false, strictTypes: false, strictRequired: false });
  return ajv.compile(schema) as unknown as Validate;
}

export const sampleConfig = configSchema(sampleSchema, compiled(sampleSchema));

export const sampleResult = (): Result => ({
  interfaces: [
    { name: 'cni0', mac: '0a:00:00:00:00:01', mtu: 1500 },
    { name: 'eth0', mac: '0a:00:00:00:00:02', mtu: 1500, sandbox: '/run/netns/a' },
  ],
  ips: [
    { address: '10.1.0.2/24', gateway: '10.1.0.1', interface: 1 },
    { address: 'fd00::2/64', gateway: 'fd00::1', interface: 1 },
  ],
  routes: [{ dst: '0.0.0.0/0', table: 0, scope: 0, mtu: 1400 }, { dst: '::/0' }],
  dns: { nameservers: ['10.1.0.1'] },
});

export interface Call {
  verb: string;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into requests of every verb
  request: any;
}

/** A plugin that notes its calls; `overrides` replaces what it does. */
export function samplePlugin(
  overrides: Partial<PluginVerbs<SampleConf>> = {},
): PluginVerbs<SampleConf> & { calls: Call[] } {
  const calls: Call[] = [];
  const note = async (verb: string, request: unknown): Promise<void> => {
    calls.push({ verb, request });
  };
  return {
    type: 'sample',
    about: 'CNI plugin sample (weft)',
    config: sampleConfig,
    knownArgs: ['MAC', 'IP'],
    add: async (request) => {
      await note('ADD', request);
      return request.prevResult ?? sampleResult();
    },
    check: (request) => note('CHECK', request),
    del: (request) => note('DEL', request),
    gc: (request) => note('GC', request),
    status: (request) => note('STATUS', request),
    ...overrides,
    calls,
  };
}

export type Env = Record<string, string | undefined>;

export interface FakeAmbient extends Ambient {
  logs: string[];
}

export function fakeAmbient(
  env: Env,
  input: string | (() => Promise<string>),
  run?: (file: string, args: readonly string[], options?: RunOptions) => Promise<RunResult>,
): FakeAmbient {
  const logs: string[] = [];
  return {
    env,
    paths: { dataDir: '/data', runDir: '/run', cacheDir: '/cache', confDir: '/conf' },
    input: typeof input === 'function' ? input : async () => input,
    log: (line) => {
      logs.push(line);
    },
    now: () => 0,
    hostId: () => 'host',
    lock: async () => () => {},
    files: NO_FILES,
    run: run ?? (() => Promise.reject(new Error('this test runs no program'))),
    logs,
  };
}

export const fullEnv = (command: string): Env => ({
  CNI_COMMAND: command,
  CNI_CONTAINERID: 'c1',
  CNI_NETNS: '/run/netns/a',
  CNI_IFNAME: 'eth0',
  CNI_PATH: '/opt/cni/bin:/usr/lib/cni',
});

export const baseConf = { cniVersion: '1.1.0', name: 'net', type: 'sample' };

export interface Answer {
  status: number;
  stdout: string;
  stderr: string;
  // biome-ignore lint/suspicious/noExplicitAny: whatever the plugin printed
  json: any;
  calls: Call[];
  logs: string[];
}

export interface CallOptions {
  env?: Env;
  /** Replaces the whole input text. */
  input?: string;
  plugin?: ReturnType<typeof samplePlugin>;
  look?: LookAtNamespace;
}

/** One call with everything right but what the test changes. */
export async function call(command: string, conf: object = {}, options: CallOptions = {}): Promise<Answer> {
  const plugin = options.plugin ?? samplePlugin();
  const input = options.input ?? JSON.stringify({ ...baseConf, ...conf });
  const ambient = fakeAmbient({ ...fullEnv(command), ...options.env }, input);
  const outcome = await runPlugin(plugin, ambient, { look: options.look ?? (() => ({ state: 'other' })) });
  const json = outcome.stdout === '' ? undefined : JSON.parse(outcome.stdout);
  return { ...outcome, json, calls: plugin.calls, logs: ambient.logs };
}
