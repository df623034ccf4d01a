/** Variables of a command's environment. */

/** `NAME=VALUE` each; of one name the last counts: programs go by the first that they find. */
export function laterWin(variables: readonly string[]): string[] {
  return [...new Map(variables.map((one) => [one.slice(0, one.indexOf('=')), one])).values()];
}

/** What `-e` said: a name alone takes its value along from here, if there is one. */
export function givenVariables(
  given: readonly string[] | undefined,
  here: Readonly<Record<string, string | undefined>>,
): string[] {
  return (given ?? []).flatMap((one) => {
    if (one.includes('=')) return [one];
    return here[one] === undefined ? [] : [`${one}=${here[one]}`];
  });
}
