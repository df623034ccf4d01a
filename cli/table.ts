/** Aligned text, without more than that. */

/** Rows as lines, their cells padded to columns two spaces apart; no white space at the end of a line. */
export function table(rows: readonly (readonly string[])[]): string[] {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, cell.length);
  }
  return rows.map((row) =>
    row
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}

/** Lines, each ended. */
export function lines(...text: readonly string[]): string {
  return text.map((line) => `${line}\n`).join('');
}
