/**
 * Which runs a notebook shows, and which of them is meant by 'the run of this notebook'.
 */
import type { ICellModel, ICodeCellModel } from '@jupyterlab/cells';
import type { INotebookModel } from '@jupyterlab/notebook';

import { isRecord } from '../model/json';
import { baseName } from './runInfo';
import type { IRunInfo } from './runInfo';
import { RUN_MIME_TYPE } from './tokens';

/** The data of our MIME type. */
export interface IRunOutput {
  /** The run's folder; absolute, on the kernel's machine. */
  dir: string;
  run_id: string;
}

/** A run that a command acts on. */
export interface IRunTarget {
  dir: string;
  label: string;
}

/** The data of our MIME type, or null when they have another form. */
export function parseRunOutput(data: unknown): IRunOutput | null {
  if (!isRecord(data) || typeof data.dir !== 'string' || typeof data.run_id !== 'string') {
    return null;
  }
  return { dir: data.dir, run_id: data.run_id };
}

/** The runs in the notebook's outputs, from top to bottom. */
export function runOutputs(notebook: INotebookModel): IRunOutput[] {
  return [...notebook.cells].flatMap(runsOfCell);
}

/** The cell whose output shows the run; the last one, if several do. */
export function cellOfRun(notebook: INotebookModel, runId: string): ICodeCellModel | null {
  const cells = [...notebook.cells].filter(cell => runsOfCell(cell).some(run => run.run_id === runId));
  return (cells.pop() as ICodeCellModel | undefined) ?? null;
}

function runsOfCell(cell: ICellModel): IRunOutput[] {
  if (cell.type !== 'code') {
    return [];
  }
  const { outputs } = cell as ICodeCellModel;
  return Array.from({ length: outputs.length }, (_, index) => outputs.get(index).data[RUN_MIME_TYPE])
    .map(parseRunOutput)
    .filter(run => run !== null);
}

/**
 * The run that a person means by 'the run of this notebook': its live one, else its newest.
 *
 * A notebook without outputs of runs (they may be shown as text) has the newest live run of its folder.
 */
export function currentRun(outputs: readonly IRunOutput[], listed: readonly IRunInfo[]): IRunTarget | null {
  const ids = new Set(outputs.map(output => output.run_id));
  const live = listed.find(run => run.is_live && (ids.size === 0 || ids.has(run.run_id)));
  if (live !== undefined) {
    return runTarget(live);
  }
  // A run's id begins with the time of its start.
  const newest = [...outputs].sort((a, b) => (a.run_id < b.run_id ? 1 : -1))[0];
  if (newest === undefined) {
    return null;
  }
  const known = listed.find(run => run.run_id === newest.run_id);
  return known === undefined ? { dir: newest.dir, label: experimentOf(newest.dir) } : runTarget(known);
}

export function runTarget(run: IRunInfo): IRunTarget {
  return { dir: run.dir, label: run.experiment };
}

/** The name of a run's experiment, which is the folder that its folder lies in. */
export function experimentOf(dir: string): string {
  return baseName(dir.replace(/\/+$/, '').replace(/\/[^/]*$/, ''));
}
