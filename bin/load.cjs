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
const script = new Script(readFileSync(filename, 'latin1'), { filename, cachedData });
if (process.env.WEFT_WRITE_CODE_CACHE) {
  process.on('exit', () => writeFileSync(cacheFile, script.createCachedData()));
}
script.runInThisContext()(require, filename, __dirname);
