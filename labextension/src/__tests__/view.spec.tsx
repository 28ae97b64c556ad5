/** The whole view, as a person meets it. */
import { act, cleanup, fireEvent, render, screen, waitFor, within } from '@testing-library/preact';

import { TestTransport, linesJson, runJson, trialJson, updateJson } from './pages';
import { RunModel } from '../model/runModel';
import { RunSession } from '../model/session';
import type { Request } from '../model/messages';
import { RunView } from '../view/RunView';

function open(...updates: unknown[]): {
  transport: TestTransport;
  container: Element;
  tell: (update: unknown) => void;
} {
  const transport = new TestTransport();
  const session = new RunSession(transport, new RunModel(callback => callback()));
  const { container } = render(<RunView session={session} />);
  const tell = (update: unknown) => act(() => transport.receive(update)) as unknown as void;
  updates.forEach(tell);
  return { transport, container, tell };
}

const rowIds = (container: Element) =>
  [...container.querySelectorAll('tbody tr:not([aria-hidden]) th')].map(cell => cell.textContent);

afterEach(() => {
  cleanup();
  jest.useRealTimers();
});

test('before the first update the view says what is being waited for', () => {
  open();
  expect(screen.getByText('waiting for the first worker…')).toBeTruthy();
});

test('a run shows its names, its state in words and its counts', () => {
  const run = runJson({ counts: { COMPLETE: 2, FAILED: 1 }, best_id: 1, improvements: [[1, 1, 0.01]] });
  open(updateJson(1, 0, 9, { run, trials: [trialJson(0), trialJson(1), trialJson(2, { state: 'FAILED' })] }));
  expect(screen.getByRole('heading', { name: 'digits' })).toBeTruthy();
  expect(screen.getByText('running on 2 workers')).toBeTruthy();
  expect(screen.getByRole('button', { name: '1 failed' })).toBeTruthy();
  expect(screen.getByText('of 30 trials')).toBeTruthy();
  expect(screen.getByRole('progressbar').getAttribute('aria-valuenow')).toBe('3');
});

test('ten thousand trials keep at most two hundred rows in the page', () => {
  const trials = Array.from({ length: 10_000 }, (_, id) => trialJson(id));
  const { container } = open(updateJson(1, 0, 10_001, { trials }));
  expect(container.querySelectorAll('tbody tr').length).toBeLessThanOrEqual(200);
  expect(screen.getByRole('table').getAttribute('aria-rowcount')).toBe('10001');
  const box = container.querySelector('.lagom-Trials-box') as HTMLElement;
  box.scrollTop = 5_000 * 27;
  fireEvent.scroll(box);
  expect(container.querySelectorAll('tbody tr').length).toBeLessThanOrEqual(200);
  expect(rowIds(container)).toContain('4999');
});

test('the best value comes first, and a header sorts by its column', () => {
  const { container } = open(
    updateJson(1, 0, 9, { trials: [trialJson(0), trialJson(1), trialJson(2, { value: null })] })
  );
  expect(rowIds(container)).toEqual(['1', '0', '2']);
  const header = screen.getByRole('columnheader', { name: /lr/ });
  expect(header.getAttribute('aria-sort')).toBe('none');
  fireEvent.click(within(header).getByRole('button'));
  expect(header.getAttribute('aria-sort')).toBe('ascending');
  expect(rowIds(container)).toEqual(['0', '1', '2']);
  fireEvent.click(within(header).getByRole('button'));
  expect(header.getAttribute('aria-sort')).toBe('descending');
  expect(rowIds(container)).toEqual(['2', '1', '0']);
});

test('what stands beside the table knows how wide its columns are', () => {
  const { container } = open(updateJson(1, 0, 9, { trials: [trialJson(0), trialJson(1)] }));
  const columns = [...container.querySelectorAll('col')].map(column => parseFloat(column.style.width));
  const beside = container.querySelector('.lagom-Columns')?.parentElement;
  expect(beside?.style.getPropertyValue('--lagom-needed')).toBe(
    `${columns.reduce((sum, one) => sum + one)}px`
  );
});

test('beside the state there is room for the mark of warnings', () => {
  const stateWidth = (n_warnings: number) => {
    const { container } = open(updateJson(1, 0, 9, { trials: [trialJson(0, { n_warnings })] }));
    return parseFloat(container.querySelectorAll('col')[1].style.width);
  };
  const plain = stateWidth(0);
  expect(stateWidth(2)).toBe(plain + 20);
});

test('the filter keeps the trials that it describes', () => {
  const { container } = open(
    updateJson(1, 0, 9, { trials: [trialJson(0), trialJson(1, { state: 'FAILED' })] })
  );
  fireEvent.input(screen.getByRole('searchbox', { name: 'Filter trials' }), {
    target: { value: 'state:failed' }
  });
  expect(rowIds(container)).toEqual(['1']);
  expect(screen.getByText('1 of 2 trials')).toBeTruthy();
});

test('arrow keys move between trials, and Escape closes the one that was opened', async () => {
  const { transport } = open(updateJson(1, 0, 9, { trials: [trialJson(0), trialJson(1), trialJson(2)] }));
  transport.answer = answerTrial;
  const button = (id: string) => screen.getByRole('button', { name: id });
  button('2').focus();
  fireEvent.keyDown(button('2'), { key: 'ArrowDown' });
  await waitFor(() => expect(document.activeElement).toBe(button('1')));
  fireEvent.keyDown(button('1'), { key: 'End' });
  await waitFor(() => expect(document.activeElement).toBe(button('0')));
  fireEvent.click(button('0'));
  const panel = screen.getByRole('region', { name: 'trial 0' });
  expect(button('0').getAttribute('aria-expanded')).toBe('true');
  fireEvent.keyDown(panel, { key: 'Escape' });
  expect(screen.queryByRole('region', { name: 'trial 0' })).toBeNull();
  expect(document.activeElement).toBe(button('0'));
});

test('a failed trial shows its error, traceback, prints and warnings as text', async () => {
  const { transport, container } = open(
    updateJson(1, 0, 9, {
      trials: [trialJson(3, { state: 'FAILED', error: { kind: 'ValueError', message: '<b>bad</b>' } })]
    })
  );
  transport.answer = answerTrial;
  fireEvent.click(screen.getByRole('button', { name: '3' }));
  await waitFor(() =>
    expect(container.querySelector('pre')?.textContent).toContain('<script>alert(1)</script>')
  );
  await waitFor(() =>
    expect(container.querySelector('.lagom-Panel-log')?.textContent).toBe('printed <img src=x>\n')
  );
  expect(screen.getByText('0.123457').title).toBe('0.123456789');
  expect(screen.getByText(/careful/)).toBeTruthy();
  expect(container.querySelectorAll('script, img, a, b')).toHaveLength(0);
});

test('names and values of workers are never markup', () => {
  const nasty = '<img src=x onerror=alert(1)>\u202e';
  const run = runJson({
    experiment: nasty,
    metric_name: nasty,
    hparam_names: [nasty],
    notices: [nasty],
    state_reason: nasty,
    sampler: nasty,
    best_id: 0,
    improvements: [[1, 0, 0.5]]
  });
  const trials = [
    trialJson(0, { hparams: { [nasty]: nasty } }),
    trialJson(1, { hparams: { [nasty]: 'javascript:alert(1)' } })
  ];
  const { container } = open(updateJson(1, 0, 9, { run, trials, lines: linesJson(0, [`[w1 t0] ${nasty}`]) }));
  expect(container.querySelectorAll('img, script, a, [href], [onerror]')).toHaveLength(0);
  expect(container.textContent).not.toContain('\u202e');
  expect(container.textContent).toContain('<img src=x onerror=alert(1)>');
});

test('stopping says so until the run has stopped', async () => {
  const { transport, tell } = open(updateJson(1, 0, 9, { trials: [trialJson(0)] }));
  transport.answer = () => ({ text: 'The run is stopping.' });
  fireEvent.click(screen.getByRole('button', { name: /Stop run/ }));
  expect(transport.requests('control')).toMatchObject([{ action: 'stop', trial_id: null }]);
  expect(await screen.findByText('The run is stopping.')).toBeTruthy();
  expect(screen.getByRole<HTMLButtonElement>('button', { name: /Stopping…/ }).disabled).toBe(true);
  tell(updateJson(2, 9, 10, { run: runJson({ state: 'STOPPED' }) }));
  expect(screen.queryByRole('button', { name: /Stop/ })).toBeNull();
});

test('without an answer in two seconds the view says to use the toolbar', async () => {
  jest.useFakeTimers();
  open(updateJson(1, 0, 9, { trials: [trialJson(0)] }));
  fireEvent.click(screen.getByRole('button', { name: /Stop run/ }));
  await act(() => jest.advanceTimersByTimeAsync(2_000) as unknown as Promise<void>);
  expect(screen.getByText(/Press ■ in the toolbar/)).toBeTruthy();
  expect(screen.getByRole<HTMLButtonElement>('button', { name: /Stop run/ }).disabled).toBe(false);
});

test('a running trial can be pruned, a failed one tried again', async () => {
  const { transport } = open(
    updateJson(1, 0, 9, { trials: [trialJson(0, { state: 'RUNNING' }), trialJson(1, { state: 'FAILED' })] })
  );
  transport.answer = answerTrial;
  fireEvent.click(screen.getByRole('button', { name: '0' }));
  fireEvent.click(screen.getByRole('button', { name: 'Prune' }));
  fireEvent.click(screen.getByRole('button', { name: '1' }));
  fireEvent.click(screen.getByRole('button', { name: 'Retry' }));
  await waitFor(() =>
    expect(transport.requests('control')).toMatchObject([
      { action: 'prune', trial_id: 0 },
      { action: 'retry', trial_id: 1 }
    ])
  );
});

test('prints are chosen by worker, searched, and paused', () => {
  const workers = [1, 2].map(id => ({ id, is_alive: true }));
  const { container, tell } = open(
    updateJson(1, 0, 9, { workers, lines: linesJson(0, ['[w1 t0] one', '[w2 t1] two', '[w1 t2] three']) })
  );
  const texts = () => [...container.querySelectorAll('.lagom-Log-line')].map(line => line.textContent);
  expect(screen.getByRole('log').getAttribute('aria-live')).toBe('off');
  fireEvent.click(screen.getByRole('button', { name: 'w1' }));
  expect(texts()).toEqual(['[w1 t0] one', '[w1 t2] three']);
  fireEvent.click(screen.getByRole('button', { name: 'Pause' }));
  tell(updateJson(2, 9, 10, { workers, lines: linesJson(3, ['[w1 t0] four']) }));
  expect(texts()).toEqual(['[w1 t0] one', '[w1 t2] three']);
  fireEvent.click(screen.getByRole('button', { name: 'Go on (1 new)' }));
  expect(texts()).toContain('[w1 t0] four');
  fireEvent.input(screen.getByRole('searchbox', { name: 'Search in prints' }), {
    target: { value: 'THREE' }
  });
  expect(texts()).toEqual(['[w1 t2] three']);
});

test('a hundred thousand lines keep at most two hundred in the page', () => {
  const texts = Array.from({ length: 100_000 }, (_, number) => `[w1 t0] ${number}`);
  const { container } = open(updateJson(1, 0, 9, { lines: linesJson(0, texts) }));
  expect(container.querySelectorAll('.lagom-Log-line').length).toBeLessThanOrEqual(200);
});

test('importance is asked for with the tenth complete trial', async () => {
  const trials = Array.from({ length: 10 }, (_, id) => trialJson(id));
  const { transport, tell } = open(
    updateJson(1, 0, 9, { trials: trials.slice(0, 9), run: runJson({ counts: { COMPLETE: 9 } }) })
  );
  expect(transport.requests('importance')).toHaveLength(0);
  transport.answer = request => (request.type === 'importance' ? { lr: 0.75, width: 0.25 } : undefined);
  tell(updateJson(2, 9, 11, { trials, run: runJson({ counts: { COMPLETE: 10 } }) }));
  expect(await screen.findByText('75 %')).toBeTruthy();
});

test('every button has a name, and every header a scope', () => {
  const { container } = open(updateJson(1, 0, 9, { trials: [trialJson(0), trialJson(1)] }));
  for (const button of container.querySelectorAll('button')) {
    expect(button.getAttribute('aria-label') ?? button.textContent).not.toBe('');
    expect(button.type).toBe('button');
  }
  for (const header of container.querySelectorAll('th'))
    expect(header.getAttribute('scope')).toMatch(/^(col|row)$/);
  expect(container.querySelector('caption')?.textContent).not.toBe('');
});

const FAILURE = { kind: 'ModuleNotFoundError', message: 'no module named x' };

test('a failed trial says what failed in its row, also after it has reported steps', () => {
  const { container } = open(
    updateJson(1, 0, 9, { trials: [trialJson(0, { state: 'FAILED', error: FAILURE })] })
  );
  expect(within(container.querySelector('tbody') as HTMLElement).getByText('ModuleNotFoundError').title).toBe(
    'ModuleNotFoundError: no module named x'
  );
});

test('while trials fail a line says how many and why the first did, and opens it', () => {
  const trials = [
    trialJson(4, { state: 'FAILED', error: { kind: 'KeyError', message: 'later' }, ended_at: 9 }),
    trialJson(5, { state: 'FAILED', error: FAILURE, ended_at: 8 }),
    trialJson(6)
  ];
  const { transport, tell } = open(updateJson(1, 0, 9, { trials, run: runJson({ counts: { FAILED: 2 } }) }));
  transport.answer = answerTrial;
  const line = screen.getByText('2 trials failed; the first: ModuleNotFoundError: no module named x');
  fireEvent.click(line);
  expect(screen.getByRole('region', { name: 'trial 5' })).toBeTruthy();
  tell(
    updateJson(2, 9, 20, {
      trials: [4, 5].map(id => trialJson(id, { changed_at: 15 + id, state: 'RUNNING', error: null }))
    })
  );
  expect(screen.queryByText(/trials? failed/)).toBeNull();
});

test('a run that ended of its trial’s failure says so once, and the line opens the trial', () => {
  const reason = `the trial failed with ${FAILURE.kind}: ${FAILURE.message}`;
  const { container, transport } = open(
    updateJson(1, 0, 9, {
      trials: [trialJson(0, { state: 'FAILED', error: FAILURE })],
      run: runJson({ state: 'FAILED', state_reason: reason, counts: { FAILED: 1 } })
    })
  );
  transport.answer = answerTrial;
  expect(container.querySelector('.lagom-Notices')?.textContent).toBe(reason);
  fireEvent.click(screen.getByRole('button', { name: reason }));
  expect(screen.getByRole('region', { name: 'trial 0' })).toBeTruthy();
});

test('a run that ended of something else says both', () => {
  const { container } = open(
    updateJson(1, 0, 9, {
      trials: [trialJson(0, { state: 'FAILED', error: FAILURE })],
      run: runJson({ state: 'FAILED', state_reason: 'the sampler failed', counts: { FAILED: 1 } })
    })
  );
  expect([...container.querySelectorAll('.lagom-Notices li')].map(line => line.textContent)).toEqual([
    'the sampler failed',
    '1 trial failed: ModuleNotFoundError: no module named x'
  ]);
});

test('a trial with warnings has a mark in its row', () => {
  open(updateJson(1, 0, 9, { trials: [trialJson(0, { n_warnings: 2 }), trialJson(1)] }));
  expect(screen.getAllByRole('img', { name: /warning/ }).map(mark => mark.title)).toEqual(['2 warnings']);
});

test('a name in the filter that no column has is told with those that there are', () => {
  open(updateJson(1, 0, 9, { trials: [trialJson(0)] }));
  const field = screen.getByRole('searchbox', { name: 'Filter trials' });
  fireEvent.input(field, { target: { value: 'bogus=3' } });
  expect(
    screen.getByText('no column “bogus”; there are trial, state, worker, step, time, accuracy, lr, width')
  ).toBeTruthy();
  fireEvent.input(field, { target: { value: 'lr>3' } });
  expect(screen.queryByText(/no column/)).toBeNull();
});

test('a hovered row is marked the same way in all charts, until it has gone', () => {
  const trials = Array.from({ length: 10 }, (_, id) => trialJson(id, { ended_at: 1_795_339_810 + id }));
  const run = runJson({
    counts: { COMPLETE: 10 },
    best_id: 9,
    improvements: [
      [10, 0, 0],
      [19, 9, 0.09]
    ]
  });
  const { container } = open(updateJson(1, 0, 11, { trials, run }));
  const marks = () =>
    [...container.querySelectorAll('.lagom-mod-hovered')].map(mark => mark.classList[0]).sort();
  expect(marks()).toEqual([]);
  const row = container.querySelector("button[data-row='3']")?.closest('tr') as Element;
  fireEvent.pointerEnter(row);
  expect(marks()).toEqual(['lagom-Curve', 'lagom-Dot', 'lagom-Thread']);
  fireEvent.input(screen.getByRole('searchbox', { name: 'Filter trials' }), { target: { value: 'id!=3' } });
  expect(marks()).toEqual([]);
});

test('trial, state and metric stay where they are when the table scrolls sideways', () => {
  const { container } = open(updateJson(1, 0, 9, { trials: [trialJson(0), trialJson(1)] }));
  for (const row of container.querySelectorAll('thead tr, tbody tr')) {
    const lefts = [...row.querySelectorAll<HTMLElement>('.lagom-mod-fixed')].map(cell => cell.style.left);
    expect(lefts).toHaveLength(3);
    expect(lefts[0]).toBe('0px');
    expect(parseFloat(lefts[1])).toBeLessThan(parseFloat(lefts[2]));
  }
});

test('the log of a run that is over cannot be paused', () => {
  const { tell } = open(updateJson(1, 0, 9, { lines: linesJson(0, ['[w1 t0] one']) }));
  expect(screen.getByRole('button', { name: 'Pause' })).toBeTruthy();
  tell(updateJson(2, 9, 10, { run: runJson({ state: 'COMPLETE' }) }));
  expect(screen.queryByRole('button', { name: 'Pause' })).toBeNull();
});

test('the hyperparameters of any trial can be copied, whole', async () => {
  const copied: string[] = [];
  Object.defineProperty(navigator, 'clipboard', {
    configurable: true,
    value: { writeText: (text: string) => Promise.resolve(void copied.push(text)) }
  });
  const { transport } = open(updateJson(1, 0, 9, { trials: [trialJson(3)] }));
  transport.answer = answerTrial;
  fireEvent.click(screen.getByRole('button', { name: '3' }));
  fireEvent.click(screen.getByTitle('Copy these hyperparameters as a Python dict'));
  expect(await screen.findByText('Copied')).toBeTruthy();
  expect(copied).toEqual(['{"lr": 0.123456789}']);
});

test('a file that is not shown says why', async () => {
  const { transport } = open(updateJson(1, 0, 9, { trials: [trialJson(3)] }));
  const files = [
    { path: 'artifacts/model.pkl', size_bytes: 300 },
    { path: 'artifacts/large.png', size_bytes: 9 << 20 }
  ];
  transport.answer = request =>
    request.type === 'trial' ? { ...(answerTrial(request) as object), files } : answerTrial(request);
  fireEvent.click(screen.getByRole('button', { name: '3' }));
  expect(await screen.findByText('no picture: it lies in the folder below')).toBeTruthy();
  expect(screen.getByText(/larger than 8.0 MiB/)).toBeTruthy();
});

function answerTrial(request: Request): unknown {
  if (request.type === 'trial') {
    return {
      attempt: 1,
      dir: 'trial-0003',
      hparams: { lr: 0.123456789 },
      error: { kind: 'ValueError', message: 'bad', traceback: 'File "<script>alert(1)</script>"\n' },
      warnings: ['careful <b>'],
      files: [],
      values: {},
      curves: {},
      requeue_reason: ''
    };
  }
  if (request.type === 'log')
    return { text: request.offset < 0 ? 'printed <img src=x>\n' : '', begin: 0, end: 20, size: 20 };
  return request.type === 'control' ? { text: 'It will be done.' } : undefined;
}
