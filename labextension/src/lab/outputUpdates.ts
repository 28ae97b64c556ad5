/**
 * Keeps the saved faces of live runs fresh after a reload of the page.
 *
 * A loaded page does not know any more which output a kernel's update is for, so a notebook that is saved later would
 * show the run for ever as it was at the reload. The run's id in the output tells.
 */
import type { ICodeCellModel } from '@jupyterlab/cells';
import type { IMimeBundle } from '@jupyterlab/nbformat';
import type { INotebookModel, INotebookTracker } from '@jupyterlab/notebook';
import { KernelMessage } from '@jupyterlab/services';

import { parseRunOutput } from './notebookRuns';
import { RUN_MIME_TYPE } from './tokens';

/** Take every update of a run's output into the notebook that shows it. */
export function keepOutputsFresh(notebooks: INotebookTracker): void {
  notebooks.widgetAdded.connect((_, panel) => {
    panel.sessionContext.iopubMessage.connect((_context, message) => {
      if (KernelMessage.isUpdateDisplayDataMsg(message) && RUN_MIME_TYPE in message.content.data) {
        const { data } = message.content;
        // Where JupyterLab knows the output it does this itself, later in this turn.
        window.setTimeout(() => panel.model !== null && takeUpdate(panel.model, data));
      }
    });
  });
}

/** Put the update into the outputs of its run that do not hold it yet. */
export function takeUpdate(notebook: INotebookModel, data: IMimeBundle): void {
  const runId = parseRunOutput(data[RUN_MIME_TYPE])?.run_id;
  for (const cell of notebook.cells) {
    if (cell.type !== 'code' || runId === undefined) {
      continue;
    }
    const { outputs } = cell as ICodeCellModel;
    for (let index = 0; index < outputs.length; index++) {
      const output = outputs.get(index);
      const isOfRun = parseRunOutput(output.data[RUN_MIME_TYPE])?.run_id === runId;
      if (isOfRun && output.data['text/html'] !== data['text/html']) {
        outputs.set(index, { ...output.toJSON(), data });
      }
    }
  }
}
