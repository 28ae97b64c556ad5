/** @jest-environment ./lab/__tests__/environment.cjs */
import type { ICodeCellModel } from '@jupyterlab/cells';
import { NotebookModel } from '@jupyterlab/notebook/lib/model';

import { currentRun, experimentOf, runOutputs } from '../notebookRuns';
import { takeUpdate } from '../outputUpdates';
import { RUN_MIME_TYPE } from '../tokens';
import { aLiveRun, aRun } from './runServer';

const OLD = { dir: '/home/x/lagom_runs/digits/20261121-080000-aaaa', run_id: '20261121-080000-aaaa' };
const NEW = { dir: '/home/x/lagom_runs/digits/20261122-093000-k3f7', run_id: '20261122-093000-k3f7' };

beforeEach(() => {
  // The document library warns of what its own loading does.
  jest.spyOn(console, 'warn').mockImplementation(() => undefined);
});

test("a notebook's runs are found in its outputs, and data of another form are left out", () => {
  const model = aNotebook({ ...NEW, format: 1 }, 'odd', OLD);
  expect(runOutputs(model)).toEqual([NEW, OLD]);
  model.dispose();
});

test('an update goes to the outputs of its run alone', () => {
  const model = aNotebook(NEW, OLD);
  takeUpdate(model, { [RUN_MIME_TYPE]: NEW, 'text/html': 'the end', 'text/plain': 'the end' });
  const faces = [...model.cells].map(cell => (cell as ICodeCellModel).outputs?.get(0).data['text/plain']);
  expect(faces).toEqual(['the end', 'run']);
  model.dispose();
});

/** A notebook with a cell for each of these data of our MIME type. */
function aNotebook(...all: unknown[]): NotebookModel {
  const model = new NotebookModel();
  const cells = all.map(data => ({
    cell_type: 'code',
    source: '',
    metadata: {},
    execution_count: null,
    outputs: [
      { output_type: 'display_data', metadata: {}, data: { [RUN_MIME_TYPE]: data, 'text/plain': 'run' } }
    ]
  }));
  model.fromJSON({ nbformat: 4, nbformat_minor: 5, metadata: {}, cells } as never);
  return model;
}

test("the notebook's live run is the one that is meant", () => {
  const live = aLiveRun({ run_id: OLD.run_id, dir: 'lagom_runs/digits/20261121-080000-aaaa' });
  expect(currentRun([NEW, OLD], [aRun(), live])?.dir).toBe(live.dir);
});

test('without a live one its newest is meant, wherever it stands', () => {
  expect(currentRun([NEW, OLD], [])).toEqual({ dir: NEW.dir, label: 'digits' });
  expect(currentRun([OLD, NEW], [aRun({ experiment: 'listed' })])).toEqual({
    dir: aRun().dir,
    label: 'listed'
  });
});

test("another notebook's live run is not meant", () => {
  expect(currentRun([OLD], [aLiveRun()])?.dir).toBe(OLD.dir);
});

test('a notebook that shows runs as text has the live run of its folder', () => {
  expect(currentRun([], [aRun({ dir: 'x' }), aLiveRun()])?.dir).toBe(aLiveRun().dir);
  expect(currentRun([], [aRun()])).toBeNull();
});

test("an experiment's name is the folder that the run lies in", () => {
  expect(experimentOf('/a/lagom_runs/digits/20261122-093000-k3f7/')).toBe('digits');
});
