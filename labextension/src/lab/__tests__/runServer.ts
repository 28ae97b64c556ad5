/**
 * A server on loopback that answers as the server extension does; for tests.
 */
import { createServer } from 'node:http';
import type { IncomingMessage, Server } from 'node:http';
import type { AddressInfo } from 'node:net';

import { ServerConnection } from '@jupyterlab/services';

import type { IModelInfo } from '../modelInfo';
import type { IRunInfo } from '../runInfo';

export interface IAnswer {
  status: number;
  body?: unknown;
}

export class RunServer {
  /** '<method> <path with query>' of what was asked, in order. */
  readonly requests: string[] = [];
  /** What the next requests get. */
  answer: (method: string, url: URL) => IAnswer | Promise<IAnswer> = () => ({
    status: 200,
    body: { runs: [] }
  });

  async start(): Promise<ServerConnection.ISettings> {
    this._server = createServer((request, response) => {
      void this._reply(request).then(({ status, body }) => {
        response.writeHead(status, { 'Content-Type': 'application/json' });
        response.end(body === undefined ? undefined : JSON.stringify(body));
      });
    });
    await new Promise<void>(resolve => this._server?.listen(0, '127.0.0.1', resolve));
    const { port } = this._server.address() as AddressInfo;
    return ServerConnection.makeSettings({ baseUrl: `http://127.0.0.1:${port}/user/x/`, token: 'a-token' });
  }

  async stop(): Promise<void> {
    this._server?.closeAllConnections();
    await new Promise(resolve => this._server?.close(resolve));
  }

  private async _reply(request: IncomingMessage): Promise<IAnswer> {
    const url = new URL(request.url ?? '', 'http://127.0.0.1');
    // The time at the end keeps browsers from answering from their cache.
    this.requests.push(`${request.method} ${request.url?.replace(/&\d+$/, '')}`);
    return this.answer(request.method ?? '', url);
  }

  private _server: Server | undefined;
}

/** A complete run, but for what is given. */
export function aRun(changes: Partial<IRunInfo> = {}): IRunInfo {
  return {
    dir: 'lagom_runs/digits/20261122-093000-k3f7',
    run_id: '20261122-093000-k3f7',
    experiment: 'digits',
    kind: 'hpo',
    state: 'COMPLETE',
    is_live: false,
    created_at: '2026-11-22T09:30:00+00:00',
    duration_s: 72,
    n_done: 30,
    n_trials: 30,
    metric: 'accuracy',
    best_id: 14,
    best_val: 0.98333,
    ...changes
  };
}

/** A run that is going on. */
export function aLiveRun(changes: Partial<IRunInfo> = {}): IRunInfo {
  return aRun({ state: 'RUNNING', is_live: true, n_done: 12, duration_s: null, ...changes });
}

/** A version of a model, but for what is given. */
export function aModel(changes: Partial<IModelInfo> = {}): IModelInfo {
  return {
    name: 'digits',
    version: 1,
    dir: 'lagom_runs/.models/digits/1',
    created_at: '2026-11-22T09:30:00+00:00',
    user: 'ada',
    description: '',
    framework: 'sklearn',
    metrics: [
      ['accuracy', 0.95],
      ['loss', NaN]
    ],
    run_id: '20261122-093000-k3f7',
    run_dir: 'lagom_runs/digits/20261122-093000-k3f7',
    trial_id: 7,
    attempt: 1,
    inputs: [{ path: '/home/ada/project/data.csv', shown: 'project/data.csv' }],
    n_inputs: 1,
    ...changes
  };
}
