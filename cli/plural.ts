/** `1 link`, `2 links`: for nouns whose plural has an s. */
export function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}
