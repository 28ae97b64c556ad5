/**
 * The table's filter: 'state:failed lr<0.01 free text'. All words must hold for a trial to stay.
 *
 * A word is a comparison (name, one of : = != < <= > >=, value), or text that some cell contains. Quotes keep spaces together.
 * Names and states are understood in English and as the table shows them in the reader's language.
 */
import { formatHparam } from './format';
import { metricName, trialStateWord } from './words';
import { TRIAL_STATES } from '../model/messages';
import type { IRun, ITrial, TrialState } from '../model/messages';
import type { ITranslator } from '../i18n';

export interface ITrialFilter {
  readonly keeps: (trial: ITrial) => boolean;
  /** Names in comparisons that no column has: such words are looked for as text. */
  readonly unknown: readonly string[];
}

/** What the words of a filter mean in one run. */
export interface IVocabulary {
  /** How a trial's value is found, by a name in lower case. */
  readonly columns: ReadonlyMap<string, (trial: ITrial) => unknown>;
  /** The names to tell a person, as the table has them. */
  readonly names: readonly string[];
  readonly stateWord: (state: TrialState) => string;
}

type Test = (trial: ITrial) => boolean;

const WORDS = /(?:[^\s"]|"[^"]*")+/g;
const COMPARISON = /^([^:=<>!]+)(<=|>=|!=|==|[:=<>])(.+)$/;

/** The names that a filter may use for these trials. */
export function vocabularyOf(t: ITranslator, run: IRun, trials: readonly ITrial[]): IVocabulary {
  const hparams = new Set(run.hparam_names);
  const metrics = new Set(run.metric_names);
  for (const trial of trials) {
    for (const name of Object.keys(trial.hparams)) hparams.add(name);
    for (const name of Object.keys(trial.metrics)) metrics.add(name);
  }
  const columns = new Map<string, (trial: ITrial) => unknown>();
  // What stands first keeps the name.
  const add = (names: readonly string[], valueOf: (trial: ITrial) => unknown) => {
    for (const name of names.map(name => name.toLowerCase()))
      if (!columns.has(name)) columns.set(name, valueOf);
  };
  const state = (trial: ITrial) => new Ways([trial.state, trialStateWord(t, trial.state)]);
  const fixed: [name: string, title: string, valueOf: (trial: ITrial) => unknown][] = [
    ['trial', t._n('trial', 'trials', 1), trial => trial.id],
    ['state', t.__('state'), state],
    ['worker', t._n('worker', 'workers', 1), trial => trial.worker_id],
    ['step', t.__('step'), trial => trial.step],
    ['time', t.__('time'), trial => trial.duration_s]
  ];
  for (const [name, , valueOf] of fixed) add([name], valueOf);
  add(['id'], trial => trial.id);
  add(['value'], trial => trial.value);
  add(['attempt'], trial => trial.attempt);
  add(['error'], trial => (trial.error === null ? '' : `${trial.error.kind}: ${trial.error.message}`));
  for (const name of hparams) add([name], trial => trial.hparams[name]);
  // Of the metric that counts, what its column shows.
  for (const name of metrics)
    add([name], trial => (name === run.metric_name ? trial.value : trial.metrics[name]));
  // Last: a hyperparameter may have a name that is a title in another language.
  add([metricName(t, run)], trial => trial.value);
  for (const [, title, valueOf] of fixed) add([title], valueOf);
  const names = [...fixed.map(([, title]) => title), metricName(t, run), ...hparams, ...metrics];
  return { columns, names: [...new Set(names)], stateWord: word => trialStateWord(t, word) };
}

/** The filter that the text describes; '' keeps all. */
export function parseFilter(text: string, vocabulary: IVocabulary): ITrialFilter {
  const unknown: string[] = [];
  const textsOfStates = new Map(
    TRIAL_STATES.map(state => [state, `${state} ${vocabulary.stateWord(state)}`] as const)
  );
  const contains = (wanted: string): Test => {
    return trial => `${textsOfStates.get(trial.state)} ${textOf(trial)}`.toLowerCase().includes(wanted);
  };
  const tests = (text.match(WORDS) ?? []).map((word): Test => {
    const found = COMPARISON.exec(word);
    const plain = unquoted(word).toLowerCase();
    if (found === null || plain === '') return contains(plain);
    const valueOf = vocabulary.columns.get(unquoted(found[1]).toLowerCase());
    if (valueOf === undefined) {
      unknown.push(unquoted(found[1]));
      return contains(plain);
    }
    const isWorker = valueOf === vocabulary.columns.get('worker');
    const wanted = unquoted(found[3]).toLowerCase();
    return trial => compare(valueOf(trial), found[2], isWorker ? wanted.replace(/^w(?=\d+$)/, '') : wanted);
  });
  return { keeps: trial => tests.every(test => test(trial)), unknown };
}

/** Several words for the same value. */
class Ways {
  constructor(readonly words: readonly string[]) {}
}

function compare(value: unknown, operator: string, wanted: string): boolean {
  if (value === undefined) return operator === '!=';
  const number = Number(wanted);
  const isNumber = typeof value === 'number' && wanted.trim() !== '' && !Number.isNaN(number);
  const texts = value instanceof Ways ? value.words.map(word => word.toLowerCase()) : [textual(value)];
  switch (operator) {
    case ':':
      return isNumber ? value === number : texts.some(text => text.includes(wanted));
    case '=':
    case '==':
      return isNumber ? value === number : texts.includes(wanted);
    case '!=':
      return isNumber ? value !== number : !texts.includes(wanted);
    case '<':
      return isNumber && value < number;
    case '<=':
      return isNumber && value <= number;
    case '>':
      return isNumber && value > number;
    default:
      return isNumber && value >= number;
  }
}

function textual(value: unknown): string {
  return (typeof value === 'string' ? value : formatHparam(value, 200)).toLowerCase();
}

function textOf(trial: ITrial): string {
  const parts = [String(trial.id), trial.worker_id === null ? '' : `w${trial.worker_id}`];
  for (const [name, value] of Object.entries(trial.hparams)) parts.push(name, formatHparam(value, 200));
  if (trial.error !== null) parts.push(trial.error.kind, trial.error.message);
  return parts.join(' ');
}

function unquoted(text: string): string {
  return text.replace(/"/g, '');
}
