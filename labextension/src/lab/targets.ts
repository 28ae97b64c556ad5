/**
 * Which run a command is about: the one in its arguments, the one whose entry was clicked, or the notebook's.
 */
import type { JupyterFrontEnd } from '@jupyterlab/application';
import { MainAreaWidget } from '@jupyterlab/apputils';
import type { INotebookTracker } from '@jupyterlab/notebook';
import type { Kernel } from '@jupyterlab/services';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';
import type { Widget } from '@lumino/widgets';

import { cellOfRun, currentRun, experimentOf, runOutputs, runTarget } from './notebookRuns';
import type { IRunTarget } from './notebookRuns';
import { baseName } from './runInfo';
import { RunPanel } from './runPanel';
import type { IRunList } from './tokens';

const ITEM_CLASS = 'lagom-RunList-item';

export class RunTargets {
  constructor(
    private readonly _app: JupyterFrontEnd,
    private readonly _list: IRunList,
    private readonly _notebooks: INotebookTracker | null
  ) {}

  /** The run in the arguments, else the one whose entry in the side bar was clicked. */
  named(args: ReadonlyPartialJSONObject): IRunTarget | null {
    const dir = typeof args.dir === 'string' ? args.dir : this._clickedDir();
    if (dir === undefined) {
      return null;
    }
    const listed = this._list.runs.find(run => run.dir === dir);
    if (listed !== undefined) {
      return runTarget(listed);
    }
    return { dir, label: typeof args.label === 'string' ? args.label : experimentOf(dir) };
  }

  /** The run whose panel is in front, else the one of the notebook in front. */
  inFront(): IRunTarget | null {
    const { currentWidget } = this._app.shell;
    const content = currentWidget instanceof MainAreaWidget ? (currentWidget.content as Widget) : null;
    return content instanceof RunPanel ? { dir: content.dir, label: content.label } : this.current();
  }

  /** The run of the notebook in front. */
  current(): IRunTarget | null {
    const notebook = this._notebooks?.currentWidget?.model;
    return notebook ? currentRun(runOutputs(notebook), this._list.runs) : null;
  }

  /** The kernel that runs the cell of the run now, when that notebook is open; its interrupt stops the run. */
  drivingKernel(dir: string): Kernel.IKernelConnection | null {
    const id = baseName(dir);
    const panel = this._notebooks?.find(({ model }) => model !== null && cellOfRun(model, id) !== null);
    const kernel = panel?.sessionContext.session?.kernel;
    if (!panel?.model || !kernel) {
      return null;
    }
    // A kernel seems idle while it answers beside its cell, and after a reload a cell's state is not known.
    const isRunning = cellOfRun(panel.model, id)?.executionState === 'running';
    return isRunning || kernel.status === 'busy' || kernel.status === 'unknown' ? kernel : null;
  }

  private _clickedDir(): string | undefined {
    return this._app.contextMenuHitTest(node => node.classList.contains(ITEM_CLASS))?.dataset.dir;
  }
}
