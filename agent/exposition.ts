/** Reading Prometheus' text format, as far as the agent's own metrics use it. */

export interface Sample {
  name: string;
  labels: Readonly<Record<string, string>>;
  value: number;
}

/** Every sample of a text; lines that are none are left out. */
export function parseExposition(text: string): Sample[] {
  return text.split('\n').flatMap((line) => {
    const [, name, inside = '', value] = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/.exec(line) ?? [];
    if (name === undefined) return [];
    return [{ name, labels: parseLabels(inside), value: value === '+Inf' ? Infinity : Number(value) }];
  });
}

function parseLabels(text: string): Record<string, string> {
  const labels: Record<string, string> = {};
  for (const [, key = '', value = ''] of text.matchAll(/([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g)) {
    labels[key] = value.replaceAll(/\\(.)/g, (_, escaped: string) => (escaped === 'n' ? '\n' : escaped));
  }
  return labels;
}

/** The samples of one name whose labels are those given. */
export function select(
  samples: readonly Sample[],
  name: string,
  labels: Readonly<Record<string, string>> = {},
): Sample[] {
  const wanted = Object.entries(labels);
  return samples.filter(
    (one) => one.name === name && wanted.every(([key, value]) => one.labels[key] === value),
  );
}

/** Their sum; 0 where there are none. */
export function total(...of: Parameters<typeof select>): number {
  return select(...of).reduce((sum, { value }) => sum + value, 0);
}

/**
 * The value below which the share `q` (0 to 1) of a histogram's observations lies, as Prometheus' histogram_quantile() has it;
 * undefined where there are none. What lies above the last bound counts as the last bound.
 * @param buckets cumulative counts by upper bound, in ascending order, the last one Infinity
 */
export function quantile(
  q: number,
  buckets: readonly (readonly [bound: number, count: number])[],
): number | undefined {
  const all = buckets.at(-1)?.[1] ?? 0;
  if (all <= 0) return undefined;
  const rank = q * all;
  let [lower, below] = [0, 0];
  for (const [bound, count] of buckets) {
    if (count >= rank && count > below) {
      return bound === Infinity ? lower : lower + ((bound - lower) * (rank - below)) / (count - below);
    }
    [lower, below] = [bound, count];
  }
  return lower;
}
