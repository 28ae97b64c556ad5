/**
 * The table's filter: 'state:failed lr<0.01 free text'. All words must hold for a trial to stay.
 *
 * A word is a comparison (name, one of : = != < <= > >=, value), or text that some cell contains. Quotes keep spaces together.
 */
import { formatHparam } from './format';
import type { ITrial } from '../model/messages';

export type TrialFilter = (trial: ITrial) => boolean;

const WORDS = /(?:[^\s"]|"[^"]*")+/g;
const COMPARISON = /^([^:=<>!]+)(<=|>=|!=|==|[:=<>])(.+)$/;

/** The filter that the text describes; '' keeps all. */
export function parseFilter(text: string): TrialFilter {
  const tests = (text.match(WORDS) ?? []).map(word => testOf(word));
  return trial => tests.every(test => test(trial));
}

function testOf(word: string): TrialFilter {
  const found = COMPARISON.exec(word);
  const plain = unquoted(word).toLowerCase();
  if (found === null || plain === '') return trial => textOf(trial).includes(plain);
  const name = unquoted(found[1]).toLowerCase();
  const operator = found[2];
  const wanted = unquoted(found[3]).toLowerCase();
  return trial => {
    const value = valueOf(trial, name);
    if (value === undefined) return textOf(trial).includes(plain);
    return compare(value, operator, wanted);
  };
}

function compare(value: unknown, operator: string, wanted: string): boolean {
  if (value === null) return operator === '!=';
  const number = Number(wanted);
  const isNumber = typeof value === 'number' && wanted.trim() !== '' && !Number.isNaN(number);
  switch (operator) {
    case ':':
      return isNumber ? value === number : textual(value).includes(wanted);
    case '=':
    case '==':
      return isNumber ? value === number : textual(value) === wanted;
    case '!=':
      return isNumber ? value !== number : textual(value) !== wanted;
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

/** What the name means in this trial; undefined when it means nothing there, null when it has no value. */
function valueOf(trial: ITrial, name: string): unknown {
  switch (name) {
    case 'trial':
    case 'id':
      return trial.id;
    case 'state':
      return trial.state;
    case 'worker':
      return trial.worker_id;
    case 'step':
      return trial.step;
    case 'value':
      return trial.value;
    case 'time':
      return trial.duration_s;
    case 'attempt':
      return trial.attempt;
    case 'error':
      return trial.error === null ? '' : `${trial.error.kind}: ${trial.error.message}`;
    default:
      return ownValue(trial.hparams, name) ?? ownValue(trial.metrics, name);
  }
}

function ownValue(values: Readonly<Record<string, unknown>>, lowerName: string): unknown {
  const name = Object.keys(values).find(key => key.toLowerCase() === lowerName);
  return name === undefined ? undefined : values[name];
}

function textual(value: unknown): string {
  return (typeof value === 'string' ? value : formatHparam(value, 200)).toLowerCase();
}

function textOf(trial: ITrial): string {
  const parts = [String(trial.id), trial.state, trial.worker_id === null ? '' : `w${trial.worker_id}`];
  for (const [name, value] of Object.entries(trial.hparams)) parts.push(name, formatHparam(value, 200));
  if (trial.error !== null) parts.push(trial.error.kind, trial.error.message);
  return parts.join(' ').toLowerCase();
}

function unquoted(text: string): string {
  return text.replace(/"/g, '');
}
