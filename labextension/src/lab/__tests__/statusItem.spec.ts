/** @jest-environment ./lab/__tests__/environment.cjs */
import { nullTranslator } from '@jupyterlab/translation';

import { RunsClient } from '../client';
import { RunList } from '../runList';
import { LabSettings } from '../settings';
import { StatusItem } from '../statusItem';
import { aLiveRun, aRun, RunServer } from './runServer';

let server: RunServer;
let list: RunList;

beforeEach(async () => {
  server = new RunServer();
  list = new RunList(new RunsClient(await server.start()), new LabSettings());
});

afterEach(async () => {
  list.dispose();
  await server.stop();
});

test('the live run in front is shown, and the newest live one where that is over', async () => {
  const runs = [
    aLiveRun({ dir: 'runs/a/new', n_done: 1, best_val: null }),
    aLiveRun({ dir: 'runs/b/old', n_done: 20, best_val: null }),
    aRun({ dir: 'runs/c/past' })
  ];
  server.answer = () => ({ status: 200, body: { runs } });
  let dir: string | null = '/home/x/runs/b/old';
  const item = new StatusItem(
    list,
    () => dir,
    nullTranslator.load('lagom_magic'),
    () => undefined
  );
  expect(item.isActive).toBe(false);
  await list.refresh();
  expect(item.node.textContent).toBe('lagom 20/30');
  dir = 'runs/c/past';
  item.refresh();
  expect(item.node.textContent).toBe('lagom 1/30');
  dir = null;
  item.refresh();
  expect(item.node.textContent).toBe('lagom 1/30');
  item.dispose();
});
