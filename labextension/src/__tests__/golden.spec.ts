/** Journals that Python folds too: a page that took all updates must hold the same run. */
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

import { parseIncoming, parseNumber } from '../model/messages';
import type { ITrial, IUpdate } from '../model/messages';
import { RunModel } from '../model/runModel';

const FOLDER = join(__dirname, '../../../tests/journals');
const NAMES = readdirSync(FOLDER)
  .filter(name => name.endsWith('.jsonl'))
  .map(name => name.replace(/\.jsonl$/, ''));

interface IExpectedTrial {
  id: number;
  attempt: number;
  state: string;
  worker_id: number | null;
  hparams: Record<string, unknown>;
  last_step: number | null;
  value: number | string | null;
  points: [number, number][];
  duration_s: number;
  error: string | null;
}

interface IExpected {
  state: string;
  counts: Record<string, number>;
  metric: string | null;
  best: number | null;
  improvements: unknown[];
  compute_saved: unknown;
  notices: string[];
  workers: { id: number; is_alive: boolean; trial_id: number | null }[];
  trials: IExpectedTrial[];
}

const read = (name: string): unknown => JSON.parse(readFileSync(join(FOLDER, name), 'utf8'));

function updatesOf(name: string): IUpdate[] {
  return (read(`${name}.updates.json`) as unknown[]).map(data => {
    const message = parseIncoming(data);
    if (message?.type !== 'update') throw new Error(`${name} holds something else than updates`);
    return message;
  });
}

function folded(updates: readonly IUpdate[]): RunModel {
  const model = new RunModel(callback => callback());
  for (const update of updates) model.apply(update);
  return model;
}

const byId = (model: RunModel): ITrial[] => [...model.trials.values()].sort((a, b) => a.id - b.id);

test('there are journals', () => {
  expect(NAMES.length).toBeGreaterThanOrEqual(7);
});

describe.each(NAMES)('%s', name => {
  const updates = updatesOf(name);
  const expected = read(`${name}.table.json`) as IExpected;

  test('the page holds what Python holds', () => {
    const model = folded(updates);
    expect(model.run).toMatchObject({
      state: expected.state,
      metric_name: expected.metric,
      best_id: expected.best,
      notices: expected.notices
    });
    expect(model.run?.counts).toMatchObject(expected.counts);
    expect(model.run?.improvements).toEqual(expected.improvements);
    expect(model.workers.map(({ id, is_alive, trial_id }) => ({ id, is_alive, trial_id }))).toEqual(
      expected.workers.map(({ id, is_alive, trial_id }) => ({ id, is_alive, trial_id }))
    );
    const trials = byId(model);
    expect(trials.map(trial => trial.id)).toEqual(expected.trials.map(trial => trial.id));
    expected.trials.forEach((trial, index) => {
      expect(trials[index]).toMatchObject({
        attempt: trial.attempt,
        state: trial.state,
        worker_id: trial.worker_id,
        hparams: trial.hparams,
        step: trial.last_step,
        value: parseNumber(trial.value),
        curve: trial.points,
        duration_s: trial.duration_s
      });
      expect(trials[index].error === null).toBe(trial.error === null);
    });
  });

  test('each update told twice, and the first ones once more at the end, makes no difference', () => {
    const once = folded(updates);
    const often = folded([...updates.flatMap(update => [update, update]), ...updates.slice(0, -1)]);
    expect(byId(often)).toEqual(byId(once));
    expect(often.run).toEqual(once.run);
    expect(often.lines.lines).toEqual(once.lines.lines);
    expect(often.seq).toBe(once.seq);
  });

  test('a lost update is noticed', () => {
    const model = folded(updates.slice(0, 1));
    const asks = updates.slice(2).map(update => model.apply(update));
    expect(asks[0] ?? true).toBe(true);
  });
});
