/** The components of an ablation: what Python has computed is drawn, and said in words too. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { act, cleanup, fireEvent, render, screen, within } from '@testing-library/preact';

import { TestTransport, runJson, trialJson, updateJson } from './pages';
import { ENGLISH } from '../i18n';
import { RunModel } from '../model/runModel';
import { RunSession } from '../model/session';
import { formatAmount, formatInterval, formatP, formatSigned, savingWords } from '../view/ablationWords';
import { RunView } from '../view/RunView';

type Json = Record<string, unknown>;

const UPDATES = JSON.parse(
  readFileSync(join(__dirname, '../../../tests/journals/ablation.updates.json'), 'utf8')
) as Json[];

function open(...updates: unknown[]): {
  model: RunModel;
  container: Element;
  tell: (update: unknown) => void;
} {
  const transport = new TestTransport();
  const model = new RunModel(callback => callback());
  const { container } = render(<RunView session={new RunSession(transport, model)} />);
  const tell = (update: unknown) => {
    act(() => transport.receive(update));
  };
  updates.forEach(tell);
  return { model, container, tell };
}

const RUN = runJson({ kind: 'ablate', sampler: 'loco', hparam_names: ['component', 'repeat'], n_trials: 4 });

function ablationJson(changes: Json = {}): Json {
  return {
    unit: 'trial',
    notices: [],
    n_components: 1,
    n_left_out: 0,
    n_judged: 1,
    n_with_evidence: 1,
    components: [{ name: 'baseline' }, { name: 'conv2', change: 'conv2: identity in its place' }],
    metrics: [
      {
        name: 'accuracy',
        axis: [-0.03, 0.01],
        decimals: 4,
        rows: [
          { at: 0, mean: 0.95, sd: 0.002, n: 2 },
          {
            at: 1,
            mean: 0.93,
            delta: -0.02,
            ci_low: -0.025,
            ci_high: -0.015,
            p_holm: 0.0004,
            n: 2,
            evidence: 'worse'
          }
        ]
      }
    ],
    ...changes
  };
}

const trialOf = (id: number, component: string, changes: Json = {}): Json =>
  trialJson(id, { hparams: { component, repeat: 0 }, ...changes });

const TRIALS = [trialOf(0, 'baseline'), trialOf(1, 'conv2')];

const rowOf = (name: string) => screen.getByRole('button', { name }).closest('tr') as HTMLElement;

afterEach(cleanup);

test('the stored ablation is drawn: the baseline first, evidence in words, a failure with its reason', () => {
  const { container } = open(...UPDATES);
  const names = [...container.querySelectorAll('.lagom-Ablation tbody th button')].map(it => it.textContent);
  expect(names[0]).toBe('baseline');
  expect(names[names.length - 1]).toBe('stem');
  expect(rowOf('conv2').textContent).toContain('worse');
  expect(rowOf('dropout').textContent).toContain('no evidence');
  expect(rowOf('augment + norm').textContent).toMatch(/interaction -0\.02/);
  expect(rowOf('fc1').textContent).toContain('-78 %');
  expect(rowOf('stem').textContent).toContain('failed');
  expect(rowOf('stem').nextElementSibling?.textContent).toMatch(/^NotRemovableError: stem/);
  expect(container.querySelector('.lagom-Tiles')?.textContent).toContain(
    'baseline, 4 repeats (± sd) · evidence for 4 of 7 components'
  );
});

test('what makes no sense of an ablation is not there', () => {
  const { container } = open(...UPDATES);
  fireEvent.click(screen.getByRole('button', { name: /36 trials/ }));
  expect(container.querySelectorAll('.lagom-Trials tbody button[data-row]').length).toBeGreaterThan(5);
  expect(container.querySelector('.lagom-Importance')).toBeNull();
  expect(container.querySelector('.lagom-Space')).toBeNull();
  expect(screen.queryByText('best so far')).toBeNull();
  expect(screen.queryByRole('button', { name: 'Copy best' })).toBeNull();
  expect(container.querySelector('.lagom-mod-best')).toBeNull();
  expect(container.querySelector('.lagom-Trials tbody button')?.textContent).toBe('0');
});

test('a component that always fails is a row, no notice; one that fails once is a notice', () => {
  const failed = { state: 'FAILED', error: { kind: 'ValueError', message: 'bad' } };
  const { container, tell } = open(
    updateJson(1, 0, 9, { run: RUN, trials: [...TRIALS, trialOf(2, 'stem', failed)] })
  );
  expect(container.querySelector('.lagom-Notices')).toBeNull();
  tell(updateJson(2, 9, 12, { run: RUN, trials: [trialOf(3, 'conv2', failed)] }));
  expect(container.querySelector('.lagom-Notices')?.textContent).toBe('1 trial failed: ValueError: bad');
});

test('an update without news of the components leaves them as they are', () => {
  const { model, tell } = open(
    updateJson(1, 0, 9, { run: RUN, trials: TRIALS, ablation: ablationJson() }),
    updateJson(2, 9, 10, { run: RUN })
  );
  expect(rowOf('conv2').textContent).toContain('< 0.001');
  tell(
    updateJson(3, 10, 12, { run: RUN, ablation: ablationJson({ n_left_out: 7, notices: ['<b>one</b>'] }) })
  );
  expect(screen.getByText('… and 7 more components')).toBeTruthy();
  expect(screen.getByText('<b>one</b>')).toBeTruthy();
  expect(model.ablation?.n_left_out).toBe(7);
});

test('the bar says in words what it shows', () => {
  open(updateJson(1, 0, 9, { run: RUN, trials: TRIALS, ablation: ablationJson() }));
  const bar = within(rowOf('conv2')).getByRole('img');
  expect(bar.getAttribute('aria-label')).toBe('Δ -0.0200 [-0.0250, -0.0150]');
});

test('with one repeat there is a difference, and neither interval nor evidence', () => {
  const rows = [
    { at: 0, mean: 0.95, n: 1 },
    { at: 1, mean: 0.93, delta: -0.02, n: 1 }
  ];
  const metrics = [{ name: 'accuracy', axis: [-0.03, 0.01], decimals: 4, rows }];
  const { container } = open(
    updateJson(1, 0, 9, {
      run: RUN,
      trials: TRIALS,
      ablation: ablationJson({ n_judged: 0, n_with_evidence: 0, metrics })
    })
  );
  expect([...rowOf('conv2').children].map(cell => cell.textContent).slice(2, 6)).toEqual([
    '–',
    '',
    '-0.0200',
    '–'
  ]);
  expect(container.querySelector('.lagom-Tiles')?.textContent).toContain('baseline, 1 repeat · no interval');
});

test('an axis has a name for more than its zero, and none before there is a difference', () => {
  const rows = [
    { at: 0, mean: 0.37, n: 2 },
    { at: 1, mean: 0.22, delta: -0.15, ci_low: -1.69, ci_high: 1.39, n: 2, evidence: 'none' }
  ];
  const metric = { name: 'accuracy', axis: [-0.92, 0.92], decimals: 3, rows };
  const { tell } = open(
    updateJson(1, 0, 9, { run: RUN, trials: TRIALS, ablation: ablationJson({ metrics: [metric] }) })
  );
  const labels = () => [...rowOf('baseline').querySelectorAll('svg text')].map(it => it.textContent);
  expect(labels()).toEqual(['-0.5', '0', '+0.5']);
  // one at the end begins at its tick, so the next one must give way
  const left = { ...metric, axis: [-0.0651, 0.0135] };
  tell(updateJson(2, 9, 10, { run: RUN, ablation: ablationJson({ metrics: [left] }) }));
  expect(labels()).toEqual(['-0.04', '0']);
  const bare = { ...metric, axis: [-1, 1], rows: [rows[0], { at: 1, n: 0 }] };
  tell(updateJson(3, 10, 11, { run: RUN, ablation: ablationJson({ metrics: [bare] }) }));
  expect(labels()).toEqual([]);
});

test('what the numbers are is said below them, once there is a component', () => {
  const { tell } = open(
    updateJson(1, 0, 9, { run: RUN, trials: TRIALS, ablation: ablationJson({ n_components: 0 }) })
  );
  expect(screen.queryByText(/Holm-corrected; evidence is p < 0.05/)).toBeNull();
  tell(updateJson(2, 9, 10, { run: RUN, ablation: ablationJson() }));
  expect(screen.getByText(/Holm-corrected; evidence is p < 0.05/)).toBeTruthy();
});

test('another metric is chosen, and a component shows its trials', () => {
  const { container } = open(...UPDATES);
  fireEvent.change(screen.getByRole('combobox', { name: 'metric' }), { target: { value: 'loss' } });
  expect(rowOf('conv2').textContent).toContain('higher');
  fireEvent.click(screen.getByRole('button', { name: 'augment + norm' }));
  expect(container.querySelectorAll('.lagom-Trials tbody button[data-row]')).toHaveLength(4);
});

test('hostile names and reasons stay text', () => {
  const evil = '<img src=x onerror=alert(1)>\u202e';
  const components = [{ name: 'baseline' }, { name: evil, reason: evil, change: evil, state: 'FAILED' }];
  const { container } = open(
    updateJson(1, 0, 9, { run: RUN, trials: TRIALS, ablation: ablationJson({ components }) })
  );
  expect(container.querySelector('img')).toBeNull();
  expect(container.textContent).not.toContain('\u202e');
});

test.each([
  { at: 99 },
  { at: 0, mean: 'nan', delta: 'inf', ci_low: '-inf', ci_high: {}, evidence: 'great' },
  null,
  'x'
])('what is no such message harms nothing: %p', row => {
  const metrics = [{ name: 'accuracy', axis: ['a', null], rows: [row] }, 7];
  const { container } = open(
    updateJson(1, 0, 9, { run: RUN, trials: TRIALS, ablation: ablationJson({ metrics }) })
  );
  expect(container.querySelector('.lagom-Ablation')).not.toBeNull();
});

test('numbers are written as in Python', () => {
  expect(formatSigned(0.01234, 4)).toBe('+0.0123');
  expect(formatSigned(-0.004, 4)).toBe('-0.0040');
  expect(formatSigned(-0.00001, 4)).toBe('0.0000');
  expect(formatSigned(12_345_678, null)).toBe('+1.23e7');
  expect(formatSigned(null, 4)).toBe('–');
  expect(formatInterval(-0.015, -0.0096, 4)).toBe('[-0.0150, -0.0096]');
  expect(formatInterval(null, 1, 4)).toBe('');
  expect([0.0004, 0.012, 1, null].map(formatP)).toEqual(['< 0.001', '0.012', '1.000', '–']);
  expect([null, 61_706, 11_689_512, 999_999_999, 7e9].map(formatAmount)).toEqual([
    '–',
    '61,706',
    '11.7 M',
    '1 G',
    '7 G'
  ]);
  expect([88, 99.7, 100, 100.01, 250].map(value => savingWords(ENGLISH, value, 100))).toEqual([
    '-12 %',
    '-0.3 %',
    'the same',
    'about the same',
    '+150 %'
  ]);
});

test('who trains together is told by how many', () => {
  const trial = trialJson(0, { world_size: 4, worker_id: 1 });
  open(updateJson(1, 0, 9, { run: runJson({ kind: 'train' }), trials: [trial] }));
  expect(screen.getByRole('cell', { name: '4 workers' }).title).toBe('ranks r0 to r3, r0 on w1');
  fireEvent.click(screen.getByRole('button', { name: '0' }));
  expect(screen.getByText(/4 workers · ranks r0 to r3, r0 on w1/)).toBeTruthy();
});
