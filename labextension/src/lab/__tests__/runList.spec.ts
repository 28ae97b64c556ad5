/** @jest-environment ./lab/__tests__/environment.cjs */
import { RunsClient } from '../client';
import { RunList } from '../runList';
import { LabSettings } from '../settings';
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

function nextChange(): Promise<void> {
  return new Promise(resolve => {
    const slot = (): void => {
      list.changed.disconnect(slot);
      resolve();
    };
    list.changed.connect(slot);
  });
}

test('nothing is asked before somebody wants it', () => {
  list.folder = 'notebooks';
  expect(server.requests).toEqual([]);
  expect(list.isLoaded).toBe(false);
});

test('the list holds the runs of the folder', async () => {
  server.answer = () => ({ status: 200, body: { runs: [aRun()] } });
  list.folder = 'my notebooks';
  await list.refresh();
  expect(list.runs).toEqual([aRun()]);
  expect(server.requests).toEqual(['GET /user/x/lagom/runs?under=my%20notebooks']);
});

test('a request that fails is told, and the runs stay', async () => {
  server.answer = () => ({ status: 200, body: { runs: [aRun()] } });
  await list.refresh();
  server.answer = () => ({
    status: 403,
    body: { message: 'That folder is not below the root of the server.' }
  });
  await list.refresh();
  expect(list.error?.message).toBe('That folder is not below the root of the server.');
  expect(list.runs).toEqual([aRun()]);
  server.answer = () => ({ status: 200, body: { runs: [] } });
  await list.refresh();
  expect(list.error).toBeNull();
});

test('many wishes at once are at most two requests', async () => {
  await Promise.all([list.refresh(), list.refresh(), list.refresh(), list.refresh()]);
  expect(server.requests).toHaveLength(2);
});

test('an answer for a folder that was left is not shown', async () => {
  server.answer = (_method, url) => {
    const folder = url.searchParams.get('under') ?? '';
    return { status: 200, body: { runs: [aRun({ dir: `${folder}/run` })] } };
  };
  list.folder = 'first';
  const answered = list.refresh();
  list.folder = 'second';
  await answered;
  expect(list.runs.map(run => run.dir)).toEqual(['second/run']);
});

test('a watched list with a live run is asked for again until the run has ended', async () => {
  jest.replaceProperty(list as { settings: { refreshInterval: number } }, 'settings', {
    refreshInterval: 0.01
  });
  let isLive = true;
  server.answer = () => ({ status: 200, body: { runs: [isLive ? aLiveRun() : aRun()] } });
  const watching = list.watch();
  await list.refresh();
  await nextChange();
  isLive = false;
  while (list.runs[0].is_live) {
    await nextChange();
  }
  const n = server.requests.length;
  await new Promise(resolve => setTimeout(resolve, 60));
  expect(server.requests).toHaveLength(n);
  watching.dispose();
});

test('a list that nobody watches is asked for once', async () => {
  server.answer = () => ({ status: 200, body: { runs: [aLiveRun()] } });
  list.watch().dispose();
  await list.refresh();
  expect(server.requests).toHaveLength(1);
});
