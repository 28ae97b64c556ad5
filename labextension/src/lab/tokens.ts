/**
 * The names that the plugins share: ids, commands, MIME types and the token of the run list. No side effects.
 */
import { Token } from '@lumino/coreutils';
import type { IDisposable } from '@lumino/disposable';
import type { ISignal } from '@lumino/signaling';

import type { IRunInfo } from './runInfo';
import type { RunsClient } from './client';
import type { LabSettings } from './settings';

/** The output of a cell that ran an experiment; its data is an `IRunOutput`. */
export const RUN_MIME_TYPE = 'application/vnd.lagom-magic.run+json';
/** The output of `%lagom board`; its data is `{dir, port}`. */
export const BOARD_MIME_TYPE = 'application/vnd.lagom-magic.board+json';
export const WIDGET_MIME_TYPE = 'application/vnd.jupyter.widget-view+json';

export const PluginId = {
  runs: 'lagom-magic:plugin',
  view: 'lagom-magic:view',
  renderer: 'lagom-magic:renderer',
  sidebar: 'lagom-magic:sidebar',
  board: 'lagom-magic:board',
  commands: 'lagom-magic:commands',
  status: 'lagom-magic:status'
} as const;

export const CommandId = {
  /** Args `{dir, label?}`; without `dir` the run whose entry was clicked. */
  openRun: 'lagom-magic:open-run',
  openBoard: 'lagom-magic:open-board',
  stopRun: 'lagom-magic:stop-run',
  copyPath: 'lagom-magic:copy-path',
  deleteRun: 'lagom-magic:delete-run',
  showRuns: 'lagom-magic:show-runs',
  refreshRuns: 'lagom-magic:refresh-runs',
  /** These act on the run of the notebook in front. */
  openCurrent: 'lagom-magic:open-current-run',
  stopCurrent: 'lagom-magic:stop-current-run',
  openCurrentBoard: 'lagom-magic:open-current-board',
  copyCurrentBest: 'lagom-magic:copy-current-best'
} as const;

/** The runs below the folder of what is in front, as the side bar lists them. */
export interface IRunList {
  readonly client: RunsClient;
  readonly settings: LabSettings;
  /** The folder whose runs are listed, below the server's root. */
  folder: string;
  /** Newest first; kept from the last answer while a newer one is awaited. */
  readonly runs: readonly IRunInfo[];
  /** Why the last request failed; null when it did not. */
  readonly error: Error | null;
  /** False until the first answer. */
  readonly isLoaded: boolean;
  readonly changed: ISignal<IRunList, void>;
  /** Ask the server again; requests that are under way are not doubled. */
  refresh(): Promise<void>;
  /** While somebody watches and a run is live, the list is brought up to date again and again. */
  watch(): IDisposable;
}

export const IRunList = new Token<IRunList>('lagom-magic:IRunList', 'The lagom runs of the folder in front.');
