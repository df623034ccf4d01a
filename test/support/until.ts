/** Milliseconds of patience where no other is given: far more than any condition needs on a busy machine. */
const PATIENCE = 60_000;

type Truthy<T> = Exclude<T, false | 0 | '' | null | undefined>;

/**
 * Asks again and again until `condition` answers with something truthy, and returns that.
 * An error thrown by the condition counts as "not yet"; the last one is told when patience (milliseconds) ends.
 */
export async function until<T>(
  what: string,
  condition: () => Promise<T> | T,
  patience = PATIENCE,
): Promise<Truthy<T>> {
  const end = Date.now() + patience;
  let cause: unknown;
  do {
    try {
      const answer = await condition();
      if (answer) return answer as Truthy<T>;
    } catch (error) {
      cause = error;
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  } while (Date.now() < end);
  const last = cause instanceof Error ? `; the last time: ${cause.message.slice(0, 500)}` : '';
  throw new Error(`waited ${patience} ms in vain: ${what}${last}`, { cause });
}
