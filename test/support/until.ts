/** Milliseconds of patience where no other is given: far more than any condition needs on a busy machine. */
const PATIENCE = 20_000;

/**
 * Asks again and again until `condition` answers with something truthy, and returns that.
 * An error thrown by the condition counts as "not yet"; the last one is the cause when patience (milliseconds) ends.
 */
export async function until<T>(
  what: string,
  condition: () => Promise<T> | T,
  patience = PATIENCE,
): Promise<NonNullable<T>> {
  const end = Date.now() + patience;
  let cause: unknown;
  do {
    try {
      const answer = await condition();
      if (answer) return answer;
    } catch (error) {
      cause = error;
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  } while (Date.now() < end);
  throw new Error(`waited ${patience} ms in vain: ${what}`, { cause });
}
