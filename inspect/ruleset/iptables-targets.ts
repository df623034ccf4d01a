/** What the targets of iptables do (iptables-extensions(8)), as iptables-save prints them. */
import { optionWords, type Part } from './iptables-words.ts';
import type { Statement, Verdict } from './model.ts';

const VERDICTS: Readonly<Record<string, Verdict>> = {
  ACCEPT: { kind: 'accept' },
  DROP: { kind: 'drop' },
  RETURN: { kind: 'return' },
  QUEUE: { kind: 'queue' },
  NFQUEUE: { kind: 'queue' },
};

/** Leave alone what is modelled. */
const HARMLESS = [
  ...['LOG', 'NFLOG', 'ULOG', 'TRACE', 'AUDIT', 'CHECKSUM', 'TCPMSS', 'TCPOPTSTRIP', 'SET', 'CLASSIFY'],
  ...['DSCP', 'TOS', 'TTL', 'HL', 'ECN', 'SECMARK', 'CONNSECMARK', 'IDLETIMER', 'LED', 'RATEEST'],
];

/**
 * What `-j` or `-g` of a rule does; nothing where it has neither.
 * @param chains of the table: a name that is none of them is an extension
 * @param hook of base chains from which the rule may be reached: NETMAP rewrites the source after routing, the destination before
 */
export function statementsOf(
  part: Part | undefined,
  isChain: (name: string) => boolean,
  chain: string,
): Statement[] {
  if (part === undefined) return [];
  const name = part.of.replace(/^(target|goto) /, '');
  if (part.of.startsWith('goto ')) return [{ kind: 'verdict', verdict: { kind: 'goto', chain: name } }];
  if (isChain(name)) return [{ kind: 'verdict', verdict: { kind: 'jump', chain: name } }];
  const verdict = Object.hasOwn(VERDICTS, name) ? VERDICTS[name] : undefined;
  if (verdict) return [{ kind: 'verdict', verdict }];
  const words = [name, ...part.options.map(optionWords)].join(' ');
  if (HARMLESS.includes(name)) return [{ kind: 'other', text: words }];
  return [extension(name, part, chain) ?? { kind: 'unknown', text: words }];
}

function extension(name: string, part: Part, chain: string): Statement | undefined {
  const option = (wanted: string) => part.options.find((one) => one.name === wanted);
  const value = (wanted: string) => option(wanted)?.values[0];
  const port = value('--to-ports');
  const ports = port === undefined ? {} : { port };
  switch (name) {
    case 'MASQUERADE':
      return { kind: 'masquerade', ...ports };
    case 'REDIRECT':
      return { kind: 'redirect', ...ports };
    case 'DNAT':
      return { kind: 'dnat', ...target(value('--to-destination')) };
    case 'SNAT':
      return { kind: 'snat', ...target(value('--to-source')) };
    case 'NETMAP':
      return {
        kind: chain === 'POSTROUTING' || chain === 'INPUT' ? 'snat' : 'dnat',
        address: value('--to') ?? '',
      };
    case 'REJECT':
      return {
        kind: 'verdict',
        verdict: {
          kind: 'reject',
          ...(option('--reject-with') ? { with: value('--reject-with') ?? '' } : {}),
        },
      };
    case 'NOTRACK':
      return { kind: 'notrack' };
    case 'CT':
      return option('--notrack') ? { kind: 'notrack' } : { kind: 'other', text: part.of };
    case 'MARK':
      return setMark(value('--set-xmark') ?? value('--set-mark'), 'packet');
    case 'CONNMARK':
      return connectionMark(part);
    default:
      return undefined;
  }
}

/** `10.0.0.5:80`, `10.0.0.5-10.0.0.9:80-90`, `[fd00::5]:80`, `fd00::5`, `:80` */
export function target(text = ''): { address?: string; port?: string } {
  const [, six, sixPort] = /^\[(.*?)\](?::([\d/-]+))?$/.exec(text) ?? [];
  const [, four, fourPort] = /^([^:]*)(?::([\d/-]+))?$/.exec(text) ?? [];
  const address = six ?? four ?? text;
  const port = sixPort ?? fourPort;
  return { ...(address ? { address: address.replaceAll(/[[\]]/g, '') } : {}), ...(port ? { port } : {}) };
}

function setMark(text: string | undefined, on: 'packet' | 'connection'): Statement | undefined {
  const [value = '', mask = '0xffffffff'] = text?.split('/') ?? [];
  const read = { value: Number(value), mask: Number(mask) };
  if (value === '' || !Number.isInteger(read.value) || !Number.isInteger(read.mask)) return undefined;
  return { kind: 'setMark', on, ...read };
}

function connectionMark({ options }: Part): Statement | undefined {
  const has = (name: string) => options.find((one) => one.name === name);
  const set = has('--set-xmark') ?? has('--set-mark');
  if (set) return setMark(set.values[0], 'connection');
  const masks = ['--mask', '--nfmask', '--ctmask'].map((name) => has(name)?.values[0]).filter(Boolean);
  const mask = Number(masks[0] ?? '0xffffffff');
  if (!Number.isInteger(mask) || new Set(masks).size > 1) return undefined;
  if (has('--restore-mark')) return { kind: 'copyMark', to: 'packet', mask };
  return has('--save-mark') ? { kind: 'copyMark', to: 'connection', mask } : undefined;
}
