import { trialJson, updateJson } from './pages';
import { parseIncoming } from '../model/messages';
import type { ITrial } from '../model/messages';
import { ENGLISH, translatorOf } from '../i18n';
import { parseFilter, vocabularyOf } from '../view/filter';

const message = parseIncoming(
  updateJson(1, 0, 9, {
    trials: [
      trialJson(0, { hparams: { lr: 0.001, optimizer: 'adam', 'weight decay': 0 }, metrics: { Loss: 2 } }),
      trialJson(1, {
        hparams: { lr: 0.1, optimizer: 'sgd' },
        state: 'FAILED',
        error: { kind: 'ValueError', message: 'bad shapes' }
      }),
      trialJson(2, {
        hparams: { lr: 0.02, optimizer: 'adamw' },
        state: 'PRUNED',
        worker_id: 2,
        value: 'nan'
      }),
      trialJson(3, { hparams: { lr: 1, optimizer: null }, state: 'RUNNING', worker_id: null, value: null })
    ]
  })
);
if (message?.type !== 'update') throw new Error('an update is no update');
const { run, trials } = message;
const english = vocabularyOf(ENGLISH, run, trials);
const idsOf = (text: string, vocabulary = english) =>
  trials.filter(parseFilter(text, vocabulary).keeps).map((trial: ITrial) => trial.id);

test.each([
  ['', [0, 1, 2, 3]],
  ['state:failed', [1]],
  ['state:FAILED lr>0.01', [1]],
  ['lr<0.05', [0, 2]],
  ['lr<=0.02 lr>=0.02', [2]],
  ['lr=1e-3', [0]],
  ['optimizer=adam', [0]],
  ['optimizer:adam', [0, 2]],
  ['optimizer!=adam', [1, 2, 3]],
  ['optimizer:None', [3]],
  ['optimizer=none', [3]],
  ['optimizer!=None', [0, 1, 2]],
  ['worker:w2', [2]],
  ['worker!=w1', [2, 3]],
  ['accuracy>0', [1]],
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
  expect(idsOf(text)).toEqual(ids);
});

test('a name that no column has is told, and looked for as text', () => {
  expect(parseFilter('bogus>3 lr<1', english).unknown).toEqual(['bogus']);
  expect(english.names).toEqual([
    'trial',
    'state',
    'worker',
    'step',
    'time',
    'accuracy',
    'lr',
    'width',
    'optimizer',
    'weight decay',
    'Loss'
  ]);
  expect(parseFilter('error:shapes attempt=1 id>0 value<1 "Weight Decay"=0', english).unknown).toEqual([]);
});

test('titles and states are understood in the language of the table, and in English', () => {
  const german = vocabularyOf(
    translatorOf({ state: 'Zustand', failed: 'gescheitert', trial: ['Versuch', 'Versuche'] }),
    run,
    trials
  );
  for (const text of [
    'Zustand:gescheitert',
    'state:gescheitert',
    'zustand:failed',
    'state=FAILED',
    'gescheitert'
  ])
    expect(idsOf(text, german)).toEqual([1]);
  expect(idsOf('zustand!=gescheitert', german)).toEqual([0, 2, 3]);
  expect(idsOf('versuch>1', german)).toEqual([2, 3]);
});
