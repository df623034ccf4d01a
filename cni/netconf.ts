import { showValue } from './config.ts';
import { NAME_PATTERN, NAME_WANTED } from './environment.ts';
import { CniError, ErrorCode } from './errors.ts';
import { fold } from './fold.ts';
import type { NetConf } from './plugin.ts';
import type { AttachmentId, CniVersion } from './types.ts';
import { SUPPORTED_VERSIONS } from './types.ts';
import { isSupportedVersion, NEWEST_VERSION } from './versions.ts';

/** In UTF-16 units; far above any real configuration, far below what would hurt. */
const MAX_INPUT = 16 * 1024 * 1024;

/** It becomes the name of a folder: NAME_MAX (linux/limits.h). */
const MAX_NAME = 255;

/** A configuration as far as it could be read. `version` is what errors carry, so it is there in any case. */
export interface DecodedConf {
  version: CniVersion;
  /** Folded to the schema's spelling, with `cniVersion` filled in; absent when there is a fault. */
  conf?: Record<string, unknown> & { cniVersion: CniVersion };
  fault?: CniError;
}

/** Decodes standard input up to its version; never throws. A missing version means 0.1.0 (SPEC 0.1.0 had no such key). */
export function decodeConf(input: string, schema: object): DecodedConf {
  try {
    const conf = parseObject(input, schema);
    const version = conf.cniVersion === undefined || conf.cniVersion === '' ? '0.1.0' : conf.cniVersion;
    if (typeof version !== 'string') {
      throw new CniError(ErrorCode.decoding, `cniVersion: found ${showValue(version)}, wanted a string`);
    }
    if (!isSupportedVersion(version)) {
      throw new CniError(
        ErrorCode.incompatibleVersion,
        `cniVersion: found ${showValue(version)}, wanted one of ${SUPPORTED_VERSIONS.join(', ')}`,
      );
    }
    return { version, conf: { ...conf, cniVersion: version } };
  } catch (error) {
    if (error instanceof CniError) return { version: NEWEST_VERSION, fault: error };
    throw error;
  }
}

function parseObject(input: string, schema: object): Record<string, unknown> {
  if (input.length > MAX_INPUT) {
    const wanted = `wanted a network configuration of at most ${MAX_INPUT}`;
    throw new CniError(ErrorCode.decoding, `standard input has ${input.length} characters: ${wanted}`);
  }
  if (input.trim() === '') {
    throw new CniError(ErrorCode.decoding, 'standard input is empty: wanted a network configuration as JSON');
  }
  let value: unknown;
  try {
    value = JSON.parse(input);
  } catch (error) {
    const details = error instanceof Error ? error.message : String(error);
    throw new CniError(
      ErrorCode.decoding,
      'standard input is not JSON: wanted a network configuration',
      details,
    );
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    const found = `standard input is ${showValue(value)}`;
    throw new CniError(ErrorCode.decoding, `${found}: wanted a network configuration (a JSON object)`);
  }
  return fold(schema, value) as Record<string, unknown>;
}

/** Checks the keys without which nothing works, for every command (SPEC 1.1, section 1); throws CniError(invalidConfig). */
export function checkBase(conf: Record<string, unknown>): asserts conf is NetConf {
  const faults: string[] = [];
  for (const key of ['name', 'type']) {
    const value = conf[key];
    if (value === undefined || value === '') faults.push(`${key}: missing, wanted a string`);
    else if (typeof value !== 'string') faults.push(`${key}: found ${showValue(value)}, wanted a string`);
    else if (key === 'name' && !NAME_PATTERN.test(value)) {
      faults.push(`name: found ${showValue(value)}, wanted ${NAME_WANTED}`);
    } else if (key === 'name' && value.length > MAX_NAME) {
      faults.push(`name: found ${showValue(value)}, wanted at most ${MAX_NAME} characters`);
    }
  }
  if (faults.length > 0) throw new CniError(ErrorCode.invalidConfig, faults.join('; '));
}

/** The key of the specification's text, then the one of its first implementations (libcni writes both). */
const VALID_KEYS = ['cni.dev/valid-attachments', 'cni.dev/attachments'];

/**
 * The attachments that GC must spare; undefined when the configuration does not say (then nothing may be collected).
 * Throws CniError(invalidConfig) on anything doubtful: a list read wrongly would cost living containers their network.
 */
export function validAttachments(conf: Record<string, unknown>): AttachmentId[] | undefined {
  const keys = Object.keys(conf);
  for (const wanted of VALID_KEYS) {
    const key = keys.find((candidate) => candidate.toLowerCase() === wanted);
    if (key === undefined) continue;
    const list = conf[key];
    if (!Array.isArray(list)) throw notAttachments(key, list, 'a list of {containerID, ifname}');
    return list.map((item, index) => readAttachment(item, `${key}[${index}]`));
  }
  return undefined;
}

const ATTACHMENT = { properties: { containerID: {}, ifname: {} } };

function readAttachment(item: unknown, at: string): AttachmentId {
  if (typeof item !== 'object' || item === null || Array.isArray(item)) {
    throw notAttachments(at, item, 'an object with containerID and ifname');
  }
  const { containerID, ifname } = fold(ATTACHMENT, item) as Record<string, unknown>;
  if (typeof containerID !== 'string' || containerID === '') {
    throw notAttachments(`${at}.containerID`, containerID, 'a string');
  }
  if (typeof ifname !== 'string' || ifname === '') throw notAttachments(`${at}.ifname`, ifname, 'a string');
  return { containerId: containerID, ifname };
}

function notAttachments(field: string, found: unknown, wanted: string): CniError {
  const what = found === undefined ? 'missing' : `found ${showValue(found)}`;
  return new CniError(ErrorCode.invalidConfig, `${field}: ${what}, wanted ${wanted}`);
}
