/**
 * Puts the panel of a run where the application has room for it; one panel a run.
 */
import type { ILabShell, JupyterFrontEnd } from '@jupyterlab/application';
import type { WidgetTracker } from '@jupyterlab/apputils';
import type { Widget } from '@lumino/widgets';

import type { IRunTarget } from './notebookRuns';
import { baseName } from './runInfo';

/** A panel that knows its run, so that it can be found and restored. */
export type RunPanelWidget = Widget & { content: Widget & { readonly dir: string; readonly label: string } };

/**
 * Show the run's panel: the one that is there, else a new one.
 *
 * @param labShell - JupyterLab's shell; others have a single document in their main area, so there it goes below.
 * @param create - makes a new panel.
 */
export async function openPanel<T extends RunPanelWidget>(
  app: JupyterFrontEnd,
  labShell: ILabShell | null,
  tracker: WidgetTracker<T>,
  run: IRunTarget | null,
  create: (run: IRunTarget) => T
): Promise<T | null> {
  if (run === null) {
    return null;
  }
  const id = baseName(run.dir);
  let panel = tracker.find(({ content }) => baseName(content.dir) === id);
  if (panel === undefined) {
    panel = create(run);
    panel.id = `${tracker.namespace}-${id}`;
    panel.title.closable = true;
    if (labShell === null) {
      panel.addClass('lagom-mod-below');
    }
    app.shell.add(panel, labShell === null ? 'down' : 'main');
    await tracker.add(panel);
  }
  app.shell.activateById(panel.id);
  return panel;
}
