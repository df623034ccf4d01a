/** The q-th quantile (0 to 1) of samples, by the nearest rank. Throws RangeError on no samples. */
export function quantile(samples: readonly number[], q: number): number {
  const sorted = [...samples].sort((a, b) => a - b);
  const value = sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))];
  if (value === undefined) throw new RangeError('no samples');
  return value;
}

export const median = (samples: readonly number[]): number => quantile(samples, 0.5);
export const p99 = (samples: readonly number[]): number => quantile(samples, 0.99);

export interface Summary {
  samples: number;
  median: number;
  p99: number;
}

/** Rounded to thousandths. Throws RangeError on no samples. */
export function summarize(samples: readonly number[]): Summary {
  const round = (value: number) => Math.round(value * 1000) / 1000;
  return { samples: samples.length, median: round(median(samples)), p99: round(p99(samples)) };
}
