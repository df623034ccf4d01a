/** Variables of a command's environment. */

/** `NAME=VALUE` each; of one name the last counts: programs go by the first that they find. */
export function laterWin(variables: readonly string[]): string[] {
  return [...new Map(variables.map((one) => [one.slice(0, one.indexOf('=')), one])).values()];
}
