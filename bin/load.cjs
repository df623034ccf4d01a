// Runs the bundle that lies beside this file, with V8's code cache where it fits this Node: compiling is then a read.
// The cache is made at build time (scripts/build.ts); WEFT_WRITE_CODE_CACHE is for that run alone.
'use strict';
const { readFileSync, writeFileSync } = require('node:fs');
const { Script } = require('node:vm');

const filename = `${__dirname}/weft-core.js`;
const cacheFile = `${__dirname}/weft-core.cache`;

let cachedData;
try {
  cachedData = readFileSync(cacheFile);
} catch {
  // Not there: compile.
}
let source;
try {
  source = readFileSync(filename, 'latin1');
} catch (error) {
  // The specification wants errors as JSON on stdout (SPEC 1.1, section 2); a person wants a line on stderr.
  const msg = `cannot read ${filename}: it belongs beside the executable; copy the whole folder or symlink into it`;
  if (process.env.CNI_COMMAND) {
    writeFileSync(1, `${JSON.stringify({ cniVersion: '1.1.0', code: 5, msg, details: error.message })}\n`);
  } else {
    writeFileSync(2, `${msg}\n`);
  }
  process.exit(1);
}
const script = new Script(source, { filename, cachedData });
if (process.env.WEFT_WRITE_CODE_CACHE) {
  process.on('exit', () => writeFileSync(cacheFile, script.createCachedData()));
}
script.runInThisContext()(require, filename, __dirname);
