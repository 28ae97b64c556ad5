/**
 * Our texts in the language of the page.
 */
import { nullTranslator } from '@jupyterlab/translation';
import type { ITranslator, TranslationBundle } from '@jupyterlab/translation';

export function loadTexts(translator: ITranslator | null): TranslationBundle {
  return (translator ?? nullTranslator).load('lagom_magic');
}
