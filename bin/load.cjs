// Runs the bundles that lie beside this file, with V8's code cache where it fits this Node: compiling is then a read.
// The caches are made at build time (scripts/build.ts); WEFT_WRITE_CODE_CACHE, a bundle's name, is for that run alone.
'use strict';
const { readFileSync, writeFileSync } = require('node:fs');
const { Script } = require('node:vm');

const loaded = new Map();

// A bundle's exports. Its text is one function of require, file name and folder.
function load(name) {
  const known = loaded.get(name);
  if (known) return known.exports;
  const filename = `${__dirname}/${name}.js`;
  const cacheFile = `${__dirname}/${name}.cache`;
  let cachedData;
  try {
    cachedData = readFileSync(cacheFile);
  } catch {
    // Not there: compile.
  }
  const script = new Script(readSource(filename), { filename, cachedData });
  if (process.env.WEFT_WRITE_CODE_CACHE === name) {
    process.on('exit', () => writeFileSync(cacheFile, script.createCachedData()));
  }
  const module = { exports: {} };
  loaded.set(name, module);
  script.runInThisContext()(need, filename, __dirname, module, module.exports);
  return module.exports;
}

function need(id) {
  return /^\.\/weft-(cli|agent)\.js$/.test(id) ? load(id.slice(2, -3)) : require(id);
}

function readSource(filename) {
  try {
    return readFileSync(filename, 'latin1');
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
}

// The launcher says what it was called by, and its own file's name.
load(process.argv.slice(2, 4).includes('weft-oci') ? 'weft-oci' : 'weft-core');
