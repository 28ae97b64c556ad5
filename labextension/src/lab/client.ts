/**
 * The HTTP requests of the server extension: list, delete and control runs, and end their
 * TensorBoards. Used by the run list, the commands and the TensorBoard panel.
 */
import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

import { isRecord } from '../model/json';
import { parseModels } from './modelInfo';
import type { IModelInfo } from './modelInfo';
import { parseRuns } from './runInfo';
import type { IRunInfo } from './runInfo';

/** What a run can be told to do as a whole. */
export type RunAction = 'stop';

/** How long a page waits for an answer to a control request, in milliseconds. */
export const CONTROL_TIMEOUT_MS = 2000;

/** The server answered with an error, or not in time. */
export class HttpError extends Error {
  /**
   * @param message - one sentence for a person.
   * @param status - the HTTP status; null when there was no answer.
   */
  constructor(
    message: string,
    readonly status: number | null
  ) {
    super(message);
    this.name = 'HttpError';
  }
}

/** The server knows nothing of runs: our server extension is not loaded there. */
export class ExtensionMissingError extends HttpError {
  constructor() {
    super('The Jupyter server has not loaded the extension of lagom_magic.', 404);
  }
}

export class RunsClient {
  constructor(readonly serverSettings: ServerConnection.ISettings) {}

  /** The runs below the folder, newest first. */
  async list(folder: string): Promise<IRunInfo[]> {
    const response = await this._request('runs', { under: folder }, { method: 'GET' });
    return parseRuns(await response.json());
  }

  /** The versions in the model registries below the folder, by model and newest first. */
  async listModels(folder: string): Promise<IModelInfo[]> {
    const response = await this._request('models', { under: folder }, { method: 'GET' });
    return parseModels(await response.json());
  }

  /** Delete the folder of a run that has ended. */
  async remove(dir: string): Promise<void> {
    await this._request('runs', { dir }, { method: 'DELETE' });
  }

  /** Tell the driver of a live run what to do; resolves with what will happen. */
  async control(dir: string, action: RunAction): Promise<string> {
    const response = await this._request(
      'control',
      { dir },
      {
        method: 'POST',
        body: JSON.stringify({ action, trial_id: null }),
        signal: AbortSignal.timeout(CONTROL_TIMEOUT_MS)
      }
    );
    const answer: unknown = await response.json();
    return isRecord(answer) && typeof answer.text === 'string' ? answer.text : '';
  }

  /** End the TensorBoard that the server has started for the run, if there is one. */
  async stopBoard(dir: string): Promise<void> {
    await this._request('board', { dir }, { method: 'DELETE' });
  }

  /** The address of a port of the server's machine behind jupyter-server-proxy; ends in a slash, as pages there need. */
  proxyUrl(port: number): string {
    return `${URLExt.join(this.serverSettings.baseUrl, 'proxy', String(port))}/`;
  }

  /** Whether something answers at that address of the server. */
  async answers(url: string): Promise<boolean> {
    const response = await ServerConnection.makeRequest(url, { method: 'GET' }, this.serverSettings);
    return response.ok;
  }

  private async _request(path: string, query: Record<string, string>, init: RequestInit): Promise<Response> {
    const url = URLExt.join(this.serverSettings.baseUrl, 'lagom', path) + URLExt.objectToQueryString(query);
    let response: Response;
    try {
      response = await ServerConnection.makeRequest(url, init, this.serverSettings);
    } catch (reason) {
      throw new HttpError(reason instanceof Error ? reason.message : String(reason), null);
    }
    if (!response.ok) {
      throw await httpError(response);
    }
    return response;
  }
}

/** An error with the server's own sentence, else its status line. */
async function httpError(response: Response): Promise<HttpError> {
  const message = messageIn(await response.text());
  if (message !== null) {
    return new HttpError(message, response.status);
  }
  return response.status === 404
    ? new ExtensionMissingError()
    : new HttpError(`${response.status} ${response.statusText}`, response.status);
}

/** The `message` of a JSON object; null when the text is none, as in an error page. */
function messageIn(text: string): string | null {
  try {
    const body: unknown = JSON.parse(text);
    return isRecord(body) && typeof body.message === 'string' && body.message !== '' ? body.message : null;
  } catch (reason) {
    if (!(reason instanceof SyntaxError)) {
      throw reason;
    }
    return null;
  }
}
