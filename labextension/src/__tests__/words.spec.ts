/** What the view says of a run's time, its counts and its errors. */
import { runJson, trialJson, updateJson } from './pages';
import { ENGLISH, translatorOf } from '../i18n';
import { parseIncoming } from '../model/messages';
import type { IUpdate } from '../model/messages';
import { bestWords, errorWords, remainingS, requeueWords, stateCountWords } from '../view/words';

function update(run: Record<string, unknown>, trials: unknown[]): IUpdate {
  const message = parseIncoming(updateJson(1, 0, 9, { run: runJson(run), trials }));
  if (message?.type !== 'update') throw new Error('an update is no update');
  return message;
}

const done = (id: number, state: string, duration_s: number) => trialJson(id, { state, duration_s });

test('trials that fail fast do not shorten what is left', () => {
  const { run, trials } = update({ n_trials: 10, counts: { COMPLETE: 1, PRUNED: 1, FAILED: 4 } }, [
    done(0, 'COMPLETE', 20),
    done(1, 'PRUNED', 10),
    ...[2, 3, 4, 5].map(id => done(id, 'FAILED', 0.1))
  ]);
  expect(remainingS(run, trials, 0)).toBe((15 * 4) / 2);
});

test('while all fail nothing is said of what is left', () => {
  const { run, trials } = update({ n_trials: 10, counts: { FAILED: 2, STOPPED: 1 } }, [
    done(0, 'FAILED', 0.1),
    done(1, 'FAILED', 0.1),
    done(2, 'STOPPED', 9)
  ]);
  expect(remainingS(run, trials, 0)).toBeNull();
});

test('a run without a best trial says why it has none', () => {
  const why = (state: string, counts: object) => bestWords(ENGLISH, update({ state, counts }, []).run, null);
  expect(why('RUNNING', { COMPLETE: 1 })).toBe('none yet');
  expect(why('COMPLETE', { COMPLETE: 1 })).toBe('no number');
  expect(why('FAILED', { FAILED: 1 })).toBe('no complete trial');
});

test('a count in words follows the number', () => {
  const german = translatorOf({ '%2 running': ['%2 läuft', '%2 laufen'] });
  expect([1, 2].map(n => stateCountWords(german, 'RUNNING', n))).toEqual(['1 läuft', '2 laufen']);
  expect(stateCountWords(ENGLISH, 'COMPLETE', 1200)).toBe('1,200 complete');
});

test('our own kinds of errors are words, and exceptions keep their names', () => {
  const words = (kind: string) => errorWords(ENGLISH, { kind, message: 'it returned None' });
  expect([words('NO_METRIC'), words('NAN'), words('KeyError')]).toEqual([
    'no metric: it returned None',
    'not a number: it returned None',
    'KeyError: it returned None'
  ]);
  expect(errorWords(ENGLISH, { kind: 'SIGKILL', message: '' })).toBe('SIGKILL');
});

test('a reason of ours to give a trial again is translated', () => {
  const german = translatorOf({ 'retried by its user': 'von Hand wiederholt' });
  expect(requeueWords(german, 'retried by its user')).toBe('von Hand wiederholt');
  expect(requeueWords(german, 'worker 2 was lost')).toBe('worker 2 was lost');
});
