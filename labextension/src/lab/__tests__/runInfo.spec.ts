import { nullTranslator } from '@jupyterlab/translation';

import { parseRuns, progressText, shownState, statusText } from '../runInfo';
import { aLiveRun, aRun } from './runServer';

const trans = nullTranslator.load('lagom_magic');

test('an answer of the server is a list of runs', () => {
  expect(parseRuns({ runs: [aRun(), aLiveRun()] })).toEqual([aRun(), aLiveRun()]);
});

test('an answer of another form is refused', () => {
  expect(() => parseRuns({})).toThrow('no list of runs');
  expect(() => parseRuns({ runs: [{ run_id: 'x' }] })).toThrow('no folder');
  expect(() => parseRuns({ runs: [{ ...aRun(), state: 'PAUSED' }] })).toThrow('unknown state: PAUSED');
  expect(() => parseRuns({ runs: [{ ...aRun(), created_at: 'lately' }] })).toThrow(
    'no time of its start: lately'
  );
});

test('a run whose driver is gone without an end is interrupted', () => {
  expect(shownState(aLiveRun())).toBe('running');
  expect(shownState(aLiveRun({ is_live: false }))).toBe('interrupted');
  expect(shownState(aRun())).toBe('complete');
});

test('the status bar says how far the run is and what its best is', () => {
  expect(statusText(aLiveRun({ best_val: 0.97 }), trans)).toBe('lagom 12/30 · best 0.9700');
  expect(statusText(aLiveRun({ best_val: null }), trans)).toBe('lagom 12/30');
  expect(progressText(aLiveRun({ n_trials: null }))).toBe('12');
});

test('values that JSON lacks are numbers again', () => {
  expect(parseRuns({ runs: [{ ...aRun(), best_val: '-inf' }] })[0].best_val).toBe(-Infinity);
});
