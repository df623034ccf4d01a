/** One thing that is not as the plan has it. */
export interface Difference {
  /** `address 10.1.0.5/24 on eth0 in the container`. */
  what: string;
  wanted: string;
  found: string;
}

export function describeDifference({ what, wanted, found }: Difference): string {
  return `${what}: wanted ${wanted}, found ${found}`;
}
