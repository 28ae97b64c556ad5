/**
 * Words in the reader's language: every string of the view passes a translator.
 *
 * JupyterLab's `TranslationBundle` is one; the widget makes one from its `translations` trait.
 */

/** The part of JupyterLab's `TranslationBundle` that the view uses. */
export interface ITranslator {
  /** The text in the reader's language; `%1`, `%2` … become the values. */
  __(text: string, ...values: unknown[]): string;
  /** The form for `n`, which is `%1`; the values are `%2`, `%3` …. */
  _n(one: string, many: string, n: number, ...values: unknown[]): string;
}

/** Message → its translation, or its plural forms: first the one for 1, last the one for many. */
export type Translations = Readonly<Record<string, string | readonly string[]>>;

/** A translator over a plain table; what is not in it stays English. */
export function translatorOf(table: Translations): ITranslator {
  const forms = (text: string): readonly string[] | null => {
    const found = Object.prototype.hasOwnProperty.call(table, text) ? table[text] : null;
    const list = typeof found === 'string' ? [found] : found;
    return list !== null && list.length > 0 ? list : null;
  };
  return {
    __: (text, ...values) => filled(forms(text)?.[0] ?? text, values),
    _n: (one, many, n, ...values) => {
      const list = forms(one);
      const text = list === null ? (n === 1 ? one : many) : n === 1 ? list[0] : list[list.length - 1];
      return filled(text, [n, ...values]);
    }
  };
}

export const ENGLISH: ITranslator = translatorOf({});

function filled(text: string, values: readonly unknown[]): string {
  return text.replace(/%(\d+)/g, (found, index: string) =>
    Number(index) >= 1 && Number(index) <= values.length ? String(values[Number(index) - 1]) : found
  );
}
