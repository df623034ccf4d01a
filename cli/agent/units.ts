/** Numbers for people. */

/** `3 h 12 min`, two units at most; from seconds. */
export function duration(seconds: number): string {
  const units = [
    ['d', 86_400],
    ['h', 3600],
    ['min', 60],
    ['s', 1],
  ] as const;
  const whole = Math.max(0, Math.floor(seconds));
  const first = units.findIndex(([, size]) => whole >= size);
  if (first < 0) return '0 s';
  const parts = units.slice(first, first + 2).map(([unit, size], i) => {
    const before = i === 0 ? Number.POSITIVE_INFINITY : (units[first]?.[1] ?? 1);
    return [Math.floor((whole % before) / size), unit] as const;
  });
  return parts.flatMap(([count, unit]) => (count > 0 ? [`${count} ${unit}`] : [])).join(' ');
}

/** `62 MiB`; from bytes. */
export function mebibytes(bytes: number): string {
  return `${Math.round(bytes / 1_048_576)} MiB`;
}

/** Plain up to a billion; an IPv6 range has more addresses than anybody reads digits of. */
export function count(value: number): string {
  return value < 1e9 ? String(value) : value.toExponential(1).replace('e+', 'e');
}
