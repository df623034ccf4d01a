/** CNI_ARGS (SPEC 1.1, "Parameters"; the rules of libcni's pkg/types/args.go). */

export interface ParsedArgs {
  /** Without IgnoreUnknown; unknown keys are among them. */
  values: Record<string, string>;
  /** What is wrong, each in words: pairs that are none, and unknown keys unless IgnoreUnknown is set. */
  faults: string[];
}

/** Parses `K=V;K=V`. Known are `known` and everything that starts with K8S_ (what Kubernetes runtimes send). */
export function parseArgs(text: string, known: readonly string[]): ParsedArgs {
  const values = new Map<string, string>();
  const faults: string[] = [];
  let ignoreUnknown = false;
  for (const pair of text.split(';')) {
    if (pair === '') continue;
    const at = pair.indexOf('=');
    const key = at < 0 ? pair : pair.slice(0, at);
    const value = pair.slice(at + 1);
    if (at <= 0) {
      faults.push(`${JSON.stringify(cut(pair))} is no KEY=VALUE`);
    } else if (key.toLowerCase() !== 'ignoreunknown') {
      values.set(key, value);
    } else if (/^(1|true|0|false)$/i.test(value)) {
      ignoreUnknown = /^(1|true)$/i.test(value);
    } else {
      faults.push(`IgnoreUnknown=${cut(value)}: wanted 1, true, 0 or false`);
    }
  }
  const unknown = [...values.keys()].filter((key) => !known.includes(key) && !key.startsWith('K8S_'));
  if (unknown.length > 0 && !ignoreUnknown) {
    const list = cut(unknown.join(', '));
    const allowed = known.length === 0 ? 'none is known here' : `known are ${known.join(', ')}`;
    faults.push(`unknown key ${list} (${allowed}): remove it or add IgnoreUnknown=1`);
  }
  return { values: Object.fromEntries(values), faults };
}

/**
 * An argument that also stands in the configuration's `args.cni` is taken from there (CONVENTIONS.md, "args in network
 * config"). The name is matched without regard to case: `MAC=` and `args.cni.mac`.
 */
export function withConfigArgs(
  values: Readonly<Record<string, string>>,
  config: Readonly<Record<string, unknown>>,
  known: readonly string[],
): Record<string, string> {
  const args = config.args as { cni?: unknown } | undefined;
  const cni = typeof args === 'object' ? args.cni : undefined;
  if (typeof cni !== 'object' || cni === null || Array.isArray(cni)) return { ...values };
  const given = new Map<string, string>();
  for (const [key, value] of Object.entries(cni)) {
    if (['string', 'number', 'boolean'].includes(typeof value)) given.set(key.toLowerCase(), String(value));
  }
  const out: Record<string, string> = { ...values };
  for (const key of new Set([...Object.keys(values), ...known])) {
    const value = given.get(key.toLowerCase());
    if (value !== undefined) out[key] = value;
  }
  return out;
}

function cut(text: string): string {
  return text.length > 80 ? `${text.slice(0, 80)}...` : text;
}
