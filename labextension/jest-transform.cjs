/** Turns TypeScript and ES modules into what jest runs; types are checked by `jlpm lint`. */
const { createHash } = require('node:crypto');
const { readFileSync } = require('node:fs');
const { transformSync, version } = require('esbuild');

const self = readFileSync(__filename, 'utf8');

module.exports = {
  getCacheKey: (source, path) =>
    createHash('sha256').update([self, version, path, source].join('\0')).digest('hex'),
  process(source, path) {
    if (path.endsWith('.svg')) return { code: `module.exports = ${JSON.stringify(source)};` };
    const { code } = transformSync(source, {
      sourcefile: path,
      loader: /\.tsx$/.test(path) ? 'tsx' : /\.ts$/.test(path) ? 'ts' : 'js',
      format: 'cjs',
      target: 'node20',
      jsx: 'automatic',
      jsxImportSource: 'preact',
      sourcemap: 'inline'
    });
    // Some packages import each other in circles, which works only where a name may be read before its value is there.
    return { code: path.includes('/node_modules/') ? code.replace(/^(?:const|let) /gm, 'var ') : code };
  }
};
