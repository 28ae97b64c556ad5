/** Unit tests of the live view, in a simulated page; run with `jlpm test`. */
module.exports = {
  rootDir: 'src',
  testEnvironment: 'jsdom',
  // Packages' files for Node: those for browsers are ES modules.
  testEnvironmentOptions: { customExportConditions: ['node', 'node-addons'] },
  testMatch: ['**/__tests__/**/*.spec.{ts,tsx}'],
  transform: { '\\.([cm]?[jt]sx?|svg)$': '<rootDir>/../jest-transform.cjs' },
  // These packages ship ES modules only.
  transformIgnorePatterns: [
    '/node_modules/(?!(@jupyterlab|@jupyter|@lumino|@microsoft|d3-[a-z-]+|internmap|lib0|y-[a-z]+|yjs|nanoid|exenv-es6)/)'
  ],
  moduleNameMapper: { '\\.css$': '<rootDir>/../jest-empty.cjs' },
  errorOnDeprecated: true,
  restoreMocks: true
};
