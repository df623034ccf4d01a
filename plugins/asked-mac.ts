/** The MAC that a runtime asks for, for bridge, vxlan and routed. */
import { CniError, ErrorCode } from '../cni/errors.ts';
import { mac as macSchema } from '../cni/schema.ts';

/** What carries a MAC that somebody asks for. */
interface Asking {
  runtimeConfig?: { mac?: string | undefined } | undefined;
  args?: { cni?: { mac?: string | undefined } | undefined } | undefined;
}

/**
 * CONVENTIONS.md, "args": what the runtime negotiated wins over `args`, and that over CNI_ARGS. Templates leave empty texts behind: they ask
 * for nothing.
 */
export function askedMac(config: Asking, args: Readonly<Record<string, string>>): string | undefined {
  const asked = config.runtimeConfig?.mac || config.args?.cni?.mac || args.MAC;
  return asked ? asked.toLowerCase() : undefined;
}

/** Throws CniError(invalidEnvironment). */
export function validateMacArg(args: Readonly<Record<string, string>>): void {
  const mac = args.MAC;
  if (!mac || new RegExp(macSchema.pattern).test(mac)) return;
  throw new CniError(
    ErrorCode.invalidEnvironment,
    `CNI_ARGS: MAC is ${JSON.stringify(mac)}, wanted ${macSchema.title}`,
  );
}
