/** @jest-environment ./lab/__tests__/environment.cjs */
import { nullTranslator } from '@jupyterlab/translation';
import { CommandRegistry } from '@lumino/commands';
import { Widget } from '@lumino/widgets';
import { fireEvent, screen } from '@testing-library/preact';

import { RunsClient } from '../client';
import { RunList } from '../runList';
import { LabSettings } from '../settings';
import { Sidebar } from '../sidebarWidget';
import { CommandId } from '../tokens';
import { aModel, aRun, RunServer } from './runServer';

let server: RunServer;
let list: RunList;
let commands: CommandRegistry;
let sidebar: Sidebar;

beforeEach(async () => {
  server = new RunServer();
  list = new RunList(new RunsClient(await server.start()), new LabSettings());
  commands = new CommandRegistry();
  sidebar = new Sidebar(list, commands, nullTranslator.load('lagom_magic'), 'en');
  server.answer = (_method, url) => ({
    status: 200,
    body: url.pathname.endsWith('models')
      ? { models: [{ ...aModel(), metrics: { accuracy: 0.95 } }] }
      : { runs: [aRun()] }
  });
});

afterEach(async () => {
  sidebar.dispose();
  list.dispose();
  await server.stop();
});

/** What the command was called with, once it was. */
function executed(id: string): unknown[] {
  const calls: unknown[] = [];
  commands.addCommand(id, { describedBy: {}, execute: args => calls.push(args) });
  return calls;
}

test('runs and models stand below one another, and a model opens its run and its data', async () => {
  const [runs, files] = [executed(CommandId.openRun), executed('docmanager:open')];
  Widget.attach(sidebar, document.body);
  fireEvent.click(await screen.findByText('20261122-093000-k3f7, trial 7'));
  fireEvent.click(screen.getByText('read data.csv'));
  expect(screen.getByRole('region', { name: 'Past' })).toBeTruthy();
  expect(runs).toEqual([{ dir: 'lagom_runs/digits/20261122-093000-k3f7', label: 'digits' }]);
  expect(files).toEqual([{ path: 'project/data.csv' }]);
});

test('nothing is asked while the side bar is hidden', async () => {
  sidebar.hide();
  Widget.attach(sidebar, document.body);
  await list.refresh();
  expect(server.requests).toEqual(['GET /user/x/lagom/runs?under']);
});
