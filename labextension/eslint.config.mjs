/** Lint rules of the live view; run with `jlpm lint`. */
import tseslint from 'typescript-eslint';

export default tseslint.config(
  { ignores: ['lib/**', '**/*.cjs', '**/*.mjs', 'style/*.js'] },
  ...tseslint.configs.recommended,
  {
    files: ['src/**/*.{ts,tsx}'],
    languageOptions: {
      parserOptions: { project: './tsconfig.test.json', tsconfigRootDir: import.meta.dirname }
    },
    rules: {
      eqeqeq: 'error',
      curly: ['error', 'multi-line'],
      'no-restricted-properties': [
        'error',
        { property: 'innerHTML', message: 'Text of workers is text, never HTML.' },
        { property: 'outerHTML', message: 'Text of workers is text, never HTML.' },
        { property: 'insertAdjacentHTML', message: 'Text of workers is text, never HTML.' }
      ],
      'no-restricted-syntax': [
        'error',
        {
          selector: "JSXAttribute[name.name='dangerouslySetInnerHTML']",
          message: 'Text of workers is text, never HTML.'
        }
      ],
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-explicit-any': 'error'
    }
  }
);
