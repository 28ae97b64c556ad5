import { linesJson, runJson, trialJson, updateJson } from './pages';
import { parseIncoming } from '../model/messages';
import type { IUpdate } from '../model/messages';
import { RunModel } from '../model/runModel';

function update(...values: Parameters<typeof updateJson>): IUpdate {
  const parsed = parseIncoming(updateJson(...values));
  if (parsed?.type !== 'update') throw new Error('no update');
  return parsed;
}

/** A model whose changes are announced when the test says so. */
function heldModel(): { model: RunModel; draw: () => void } {
  const waiting: (() => void)[] = [];
  return {
    model: new RunModel(callback => waiting.push(callback)),
    draw: () => waiting.splice(0).forEach(call => call())
  };
}

test('updates in order need no sync', () => {
  const { model } = heldModel();
  expect(model.apply(update(1, 0, 5, { trials: [trialJson(0)] }))).toBe(false);
  expect(model.apply(update(2, 5, 9, { trials: [trialJson(1, { changed_at: 8 })] }))).toBe(false);
  expect(model.seq).toBe(9);
  expect([...model.trials.keys()]).toEqual([0, 1]);
});

test('a trial is replaced by a newer change only', () => {
  const { model } = heldModel();
  model.apply(update(1, 0, 9, { trials: [trialJson(0, { changed_at: 9, state: 'COMPLETE' })] }));
  model.apply(update(2, 0, 9, { trials: [trialJson(0, { changed_at: 4, state: 'RUNNING' })] }));
  expect(model.trials.get(0)?.state).toBe('COMPLETE');
});

test('repeated updates do no harm', () => {
  const { model } = heldModel();
  const first = update(1, 0, 5, { trials: [trialJson(0)], lines: linesJson(0, ['a', 'b']) });
  model.apply(first);
  expect(model.apply(first)).toBe(false);
  expect(model.seq).toBe(5);
  expect(model.lines.lines.map(line => line.text)).toEqual(['a', 'b']);
});

test('a gap in the numbers asks for a sync from what is held', () => {
  const { model } = heldModel();
  model.apply(update(1, 0, 5));
  expect(model.apply(update(3, 8, 12, { trials: [trialJson(7, { changed_at: 11 })] }))).toBe(true);
  expect(model.seq).toBe(5);
  expect(model.trials.has(7)).toBe(true);
});

test('an update that builds on more than is held asks for a sync', () => {
  const { model } = heldModel();
  expect(model.apply(update(4, 20, 25))).toBe(true);
  expect(model.seq).toBe(0);
});

test('the answer to a sync fills the gap', () => {
  const { model } = heldModel();
  model.apply(update(1, 0, 5, { lines: linesJson(0, ['a']) }));
  model.apply(update(3, 8, 12, { lines: linesJson(3, ['d']) }));
  expect(model.apply(update(4, 5, 12, { lines: linesJson(1, ['b', 'c', 'd']) }))).toBe(false);
  expect(model.seq).toBe(12);
  expect(model.lines.lines.map(line => line.text)).toEqual(['a', 'b', 'c', 'd']);
  expect(model.lines.nSkipped).toBe(0);
});

test('a late update does not bring back an older head', () => {
  const { model } = heldModel();
  model.apply(update(1, 0, 5));
  model.apply(update(2, 5, 9, { run: runJson({ state: 'COMPLETE' }) }));
  model.apply(update(1, 0, 5));
  expect(model.run?.state).toBe('COMPLETE');
});

test('a follower that counts from one again is no gap', () => {
  const { model } = heldModel();
  model.apply(update(7, 0, 5));
  model.restartNumbers();
  expect(model.apply(update(1, 0, 9))).toBe(false);
  expect(model.apply(update(2, 9, 10))).toBe(false);
});

test('views are called once for many updates', () => {
  const { model, draw } = heldModel();
  const seen: number[] = [];
  const end = model.subscribe(() => seen.push(model.revision));
  for (let number = 1; number <= 20; number += 1) model.apply(update(number, number - 1, number));
  draw();
  expect(seen).toEqual([1]);
  end();
  model.apply(update(21, 20, 21));
  draw();
  expect(seen).toEqual([1]);
});

test('a saved head is shown until the first update', () => {
  const { model } = heldModel();
  model.preview({ ...update(1, 0, 1).run, state: 'STOPPED' });
  expect(model.run?.state).toBe('STOPPED');
  model.apply(update(1, 0, 1));
  model.preview({ ...update(1, 0, 1).run, state: 'STOPPED' });
  expect(model.run?.state).toBe('RUNNING');
});

test('the page learns how far its clock is off', () => {
  const { model } = heldModel();
  model.apply(update(1, 0, 1, { time: 1_000 }), 970);
  expect(model.clockOffsetS).toBe(30);
});

test('messages of other kinds are left alone', () => {
  for (const data of [null, 'text', 7, [], {}, { type: 'later' }, { type: 'reply' }]) {
    expect(parseIncoming(data)).toBeNull();
  }
});

test('numbers that JSON lacks are numbers again', () => {
  const trial = update(1, 0, 1, {
    trials: [trialJson(0, { value: 'nan', metrics: { a: 'inf', b: '-inf' } })]
  }).trials[0];
  expect(trial.value).toBeNaN();
  expect(trial.metrics).toEqual({ a: Infinity, b: -Infinity });
});
