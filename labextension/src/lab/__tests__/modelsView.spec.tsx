/** @jest-environment ./lab/__tests__/environment.cjs */
import { fireEvent, render, screen, within } from '@testing-library/preact';
import { nullTranslator } from '@jupyterlab/translation';

import type { IModelInfo } from '../modelInfo';
import { ModelsView } from '../modelsView';
import type { IModelsViewProps } from '../modelsView';
import { aModel } from './runServer';

function show(models: IModelInfo[], error: Error | null = null): Pick<IModelsViewProps, 'onRun' | 'onFile'> {
  const calls = { onRun: jest.fn(), onFile: jest.fn() };
  render(
    <ModelsView
      models={models}
      error={error}
      now={Date.parse(aModel().created_at) / 1000 + 120}
      language="en"
      trans={nullTranslator.load('lagom_magic')}
      {...calls}
    />
  );
  return calls;
}

test('without models there is nothing', () => {
  show([]);
  expect(document.body.textContent).toBe('');
});

test('versions stand below their model with their metrics and their time', () => {
  show([aModel({ version: 2 }), aModel(), aModel({ name: 'iris' })]);
  const models = screen.getByRole('region', { name: 'Models' });
  expect(within(models).getAllByRole('group')).toHaveLength(2);
  const [digits] = within(models).getAllByRole('group');
  expect(within(digits).getByText('2 versions')).toBeTruthy();
  expect(within(digits).getByText('version 2')).toBeTruthy();
  expect(within(digits).getAllByText('accuracy 0.9500 · loss nan')).toHaveLength(2);
  expect(within(digits).getAllByText('2 minutes ago')).toHaveLength(2);
});

test('a click leads from the model to its run, and to its data', () => {
  const { onRun, onFile } = show([aModel()]);
  fireEvent.click(screen.getByText('20261122-093000-k3f7, trial 7'));
  expect(onRun).toHaveBeenCalledWith('lagom_runs/digits/20261122-093000-k3f7');
  fireEvent.click(screen.getByText('read data.csv'));
  expect(onFile).toHaveBeenCalledWith('project/data.csv');
});

test('an attempt that was not the first of its trial is named', () => {
  show([aModel({ attempt: 2 }), aModel({ version: 2, attempt: null })]);
  expect(screen.getByText('20261122-093000-k3f7, trial 7, attempt 2')).toBeTruthy();
  expect(screen.getByText('20261122-093000-k3f7, trial 7')).toBeTruthy();
});

test('what cannot be opened is text, and says who exported it', () => {
  show([
    aModel({ run_dir: null, inputs: [{ path: '/data/x.csv', shown: null }], n_inputs: 3 }),
    aModel({ name: 'mine', run_id: null, run_dir: null, trial_id: null, inputs: [], n_inputs: 0 })
  ]);
  expect(screen.queryAllByRole('button')).toHaveLength(0);
  expect(screen.getByText('read x.csv').title).toBe('/data/x.csv');
  expect(screen.getByText('and 2 more files')).toBeTruthy();
  expect(screen.getByText('by ada')).toBeTruthy();
});

test('names and descriptions are text', () => {
  show([aModel({ name: '<b>x</b>', description: '<i>\u202ea line</i>' })]);
  expect(screen.getByText('<b>x</b>')).toBeTruthy();
  expect(screen.getByText('<i>\ufffda line</i>')).toBeTruthy();
});

test('many versions are shown in parts', () => {
  show(Array.from({ length: 25 }, (_, index) => aModel({ version: 25 - index })));
  expect(screen.getAllByRole('listitem')).toHaveLength(10);
  fireEvent.click(screen.getByRole('button', { name: 'Show 10 more versions' }));
  fireEvent.click(screen.getByRole('button', { name: 'Show 5 more versions' }));
  expect(screen.getAllByRole('listitem')).toHaveLength(25);
});

test('an error is an alert, with the models still there', () => {
  show([aModel()], new Error('The server is gone.'));
  expect(screen.getByRole('alert').textContent).toBe('The server is gone.');
  expect(screen.getAllByRole('listitem')).toHaveLength(1);
});
