/** Bundles the anywidget front end into the Python package: one ES module and one style sheet, nothing from a network. */
import { build, context } from 'esbuild';

const options = {
  entryPoints: { widget: 'labextension/src/widget.ts' },
  outdir: 'lagom_magic/display/static',
  bundle: true,
  format: 'esm',
  target: 'es2022',
  jsx: 'automatic',
  jsxImportSource: 'preact',
  minify: true,
  legalComments: 'none',
  charset: 'utf8',
  tsconfig: 'labextension/tsconfig.json',
  logLevel: 'info'
};

const style = {
  entryPoints: { widget: 'labextension/style/lagom.css' },
  outdir: 'lagom_magic/display/static',
  bundle: true,
  minify: true,
  logLevel: 'info'
};

if (process.argv.includes('--watch')) {
  await Promise.all([options, style].map(async each => (await context(each)).watch()));
} else {
  await Promise.all([build(options), build(style)]);
}
