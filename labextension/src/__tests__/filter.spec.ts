import { trialJson, updateJson } from './pages';
import { parseIncoming } from '../model/messages';
import type { ITrial } from '../model/messages';
import { parseFilter } from '../view/filter';

const message = parseIncoming(
  updateJson(1, 0, 9, {
    trials: [
      trialJson(0, { hparams: { lr: 0.001, optimizer: 'adam', 'weight decay': 0 }, metrics: { Loss: 2 } }),
      trialJson(1, {
        hparams: { lr: 0.1, optimizer: 'sgd' },
        state: 'FAILED',
        error: { kind: 'ValueError', message: 'bad shapes' }
      }),
      trialJson(2, { hparams: { lr: 0.02, optimizer: 'adamw' }, state: 'PRUNED', worker_id: 2, value: 'nan' })
    ]
  })
);
const trials: readonly ITrial[] = message?.type === 'update' ? message.trials : [];

test.each([
  ['', [0, 1, 2]],
  ['state:failed', [1]],
  ['state:FAILED lr>0.01', [1]],
  ['lr<0.05', [0, 2]],
  ['lr<=0.02 lr>=0.02', [2]],
  ['lr=1e-3', [0]],
  ['optimizer=adam', [0]],
  ['optimizer:adam', [0, 2]],
  ['optimizer!=adam', [1, 2]],
  ['worker:2', [2]],
  ['id:1', [1]],
  ['loss>1', [0]],
  ['"weight decay"=0', [0]],
  ['shapes', [1]],
  ['"bad shapes"', [1]],
  ['w2', [2]],
  ['value>-1', [0, 1]],
  ['nosuch>3', []],
  ['lr<', []],
  ['sgd adam', []],
  ['(((', []]
])('%p keeps %p', (text, ids) => {
  expect(trials.filter(parseFilter(text)).map(trial => trial.id)).toEqual(ids);
});
