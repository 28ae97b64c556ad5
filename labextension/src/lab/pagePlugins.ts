/**
 * The plugins that list and steer runs: commands, side bar and status bar.
 */
import { ILayoutRestorer } from '@jupyterlab/application';
import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { INotebookTracker } from '@jupyterlab/notebook';
import { IStatusBar } from '@jupyterlab/statusbar';
import { ITranslator } from '@jupyterlab/translation';

import { addPageCommands, addRunCommands, addToPalette } from './commands';
import { bestConfig } from './oneRequest';
import { languageTag } from './relativeTime';
import { Sidebar } from './sidebarWidget';
import { StatusItem } from './statusItem';
import { RunTargets } from './targets';
import { CommandId, IRunList, PluginId } from './tokens';
import { loadTexts } from './translation';

/** Below the file browser, the running kernels and the table of contents. */
const SIDEBAR_RANK = 600;

export const commands: JupyterFrontEndPlugin<void> = {
  id: PluginId.commands,
  description: 'Adds the commands on runs, and offers those on the notebook in front in the palette.',
  autoStart: true,
  requires: [IRunList],
  optional: [ICommandPalette, INotebookTracker, ITranslator],
  activate: (
    app: JupyterFrontEnd,
    list: IRunList,
    palette: ICommandPalette | null,
    notebooks: INotebookTracker | null,
    translator: ITranslator | null
  ): void => {
    const trans = loadTexts(translator);
    const targets = new RunTargets(app, list, notebooks);
    const options = {
      app,
      list,
      targets,
      trans,
      bestConfig: (dir: string) => bestConfig(dir, list.client.serverSettings)
    };
    addRunCommands(options);
    addPageCommands(options);
    if (palette !== null) {
      addToPalette(palette, trans);
    }
  }
};

export const sidebar: JupyterFrontEndPlugin<void> = {
  id: PluginId.sidebar,
  description: 'Lists the runs of the folder in front in the left side bar.',
  autoStart: true,
  requires: [IRunList],
  optional: [ILayoutRestorer, ITranslator],
  activate: (
    app: JupyterFrontEnd,
    list: IRunList,
    restorer: ILayoutRestorer | null,
    translator: ITranslator | null
  ): void => {
    const widget = new Sidebar(
      list,
      app.commands,
      loadTexts(translator),
      languageTag(translator?.languageCode)
    );
    restorer?.add(widget, widget.id);
    app.shell.add(widget, 'left', { rank: SIDEBAR_RANK, type: 'Lagom runs' });
  }
};

export const status: JupyterFrontEndPlugin<void> = {
  id: PluginId.status,
  description: 'Shows in the status bar how far the live run is.',
  autoStart: true,
  requires: [IRunList],
  optional: [IStatusBar, INotebookTracker, ITranslator],
  activate: (
    app: JupyterFrontEnd,
    list: IRunList,
    statusBar: IStatusBar | null,
    notebooks: INotebookTracker | null,
    translator: ITranslator | null
  ): void => {
    if (statusBar === null) {
      return;
    }
    const targets = new RunTargets(app, list, notebooks);
    const item = new StatusItem(
      list,
      () => targets.inFront()?.dir ?? null,
      loadTexts(translator),
      () => void app.commands.execute(CommandId.showRuns)
    );
    app.shell.currentChanged?.connect(item.refresh, item);
    statusBar.registerStatusItem(PluginId.status, {
      item,
      align: 'left',
      rank: 10,
      isActive: () => item.isActive,
      activeStateChanged: list.changed
    });
  }
};
