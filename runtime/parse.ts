/** Text to data, with the place of a mistake. */
import type { Document } from 'yaml';
import { CniError, ErrorCode } from '../cni/errors.ts';

/** Whether a file is YAML, by its name. */
export function isYaml(file: string): boolean {
  return /\.ya?ml$/.test(file);
}

/** JSON, or CniError(decoding) with `file:line:column`. */
export async function parseJson(text: string, source: string): Promise<unknown> {
  try {
    return JSON.parse(text);
  } catch (cause) {
    if (text.trim() === '') {
      throw new CniError(ErrorCode.decoding, `${source} is empty: a network configuration is expected`);
    }
    const { findJsonFault } = await import('./json-position.ts');
    const fault = findJsonFault(text);
    const { message } = cause as Error;
    const where = fault === undefined ? source : `${source}:${fault.line}:${fault.column}`;
    throw new CniError(ErrorCode.decoding, `${where}: not JSON: ${fault?.message ?? message}`, message, {
      cause,
    });
  }
}

/** YAML, or CniError(decoding) with `file:line:column`. */
export async function parseYaml(text: string, source: string): Promise<unknown> {
  const { parseDocument } = await import('yaml');
  const document = parseDocument(text, { prettyErrors: true });
  const [fault] = document.errors;
  if (fault === undefined) return expand(document, source);
  const { line, col } = fault.linePos?.[0] ?? { line: 1, col: 1 };
  const [message = fault.code] = fault.message.split('\n');
  throw new CniError(
    ErrorCode.decoding,
    `${source}:${line}:${col}: not YAML: ${message.replace(/ at line \d+, column \d+:?$/, '')}`,
  );
}

/** Throws CniError(decoding) on aliases that would grow without measure, or that lead nowhere. */
function expand(document: Document.Parsed, source: string): unknown {
  try {
    return document.toJS({ maxAliasCount: 100 });
  } catch (cause) {
    const { message } = cause as Error;
    throw new CniError(ErrorCode.decoding, `${source}: not YAML that can be used: ${message}`, undefined, {
      cause,
    });
  }
}
