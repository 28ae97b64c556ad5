/**
 * The folder of what a person works on: of the notebook in front, else the one that the file browser shows.
 */
import type { IDefaultFileBrowser } from '@jupyterlab/filebrowser';
import type { INotebookTracker } from '@jupyterlab/notebook';
import { PathExt } from '@jupyterlab/coreutils';
import type { Contents } from '@jupyterlab/services';

import { runOutputs } from './notebookRuns';
import type { IRunList } from './tokens';

/** Cells that end one after the other within this time, in milliseconds, are one reason to look. */
const SETTLE_MS = 500;

/** Keep the list at that folder, and ask for it again when a kernel of the page has begun or ended something. */
export function followPage(
  list: IRunList,
  contents: Contents.IManager,
  notebooks: INotebookTracker | null,
  browser: IDefaultFileBrowser | null
): void {
  let timer: number | undefined;
  const refreshSoon = (): void => {
    window.clearTimeout(timer);
    timer = window.setTimeout(() => void list.refresh(), SETTLE_MS);
  };
  const update = (): void => {
    const notebook = notebooks?.currentWidget;
    const path = notebook ? PathExt.dirname(notebook.context.path) : (browser?.model.path ?? '');
    list.folder = contents.localPath(path);
    if (notebook?.model && runOutputs(notebook.model).length > 0) {
      refreshSoon();
    }
  };
  notebooks?.currentChanged.connect(update);
  notebooks?.widgetAdded.connect((_, panel) => {
    panel.context.pathChanged.connect(update);
    panel.sessionContext.statusChanged.connect((_context, status) => {
      if (status === 'idle' && panel === notebooks.currentWidget) {
        refreshSoon();
      }
    });
  });
  browser?.model.pathChanged.connect(update);
  update();
}
