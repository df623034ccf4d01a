/**
 * A run of the suite is repeatable: whatever is generated comes from one seed, the same every time. FUZZ_SEED=$RANDOM looks elsewhere; what
 * it finds is found again by the same number. Imported for its effect by every test that generates.
 */
import fc from 'fast-check';

export const SEED = Number(process.env.FUZZ_SEED ?? 20_261_121);

fc.configureGlobal({ seed: SEED });
