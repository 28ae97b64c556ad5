/**
 * The plugins of the extension: wiring only, here and in the two modules for what shows and what lists runs.
 *
 * Tokens are optional but for the rendermime registry and our own, so that the plugins activate in every application
 * made of JupyterLab's parts.
 */
import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { IDefaultFileBrowser } from '@jupyterlab/filebrowser';
import { INotebookTracker } from '@jupyterlab/notebook';
import { ISettingRegistry } from '@jupyterlab/settingregistry';

import { RunsClient } from './client';
import { commands, sidebar, status } from './pagePlugins';
import { followPage } from './pageFolder';
import { RunList } from './runList';
import { LabSettings } from './settings';
import { IRunList, PluginId } from './tokens';
import { board, renderer, view } from './viewPlugins';

const runs: JupyterFrontEndPlugin<IRunList> = {
  id: PluginId.runs,
  description: 'Provides the runs of the folder in front, with the settings of how they are shown.',
  autoStart: true,
  provides: IRunList,
  optional: [INotebookTracker, IDefaultFileBrowser, ISettingRegistry],
  activate: (
    app: JupyterFrontEnd,
    notebooks: INotebookTracker | null,
    browser: IDefaultFileBrowser | null,
    registry: ISettingRegistry | null
  ): IRunList => {
    const settings = new LabSettings();
    registry?.load(PluginId.runs).then(
      loaded => settings.follow(loaded),
      reason => console.error('The settings of lagom_magic were not loaded; their defaults are used.', reason)
    );
    const list = new RunList(new RunsClient(app.serviceManager.serverSettings), settings);
    followPage(list, app.serviceManager.contents, notebooks, browser);
    return list;
  }
};

const plugins: JupyterFrontEndPlugin<unknown>[] = [runs, renderer, view, board, commands, sidebar, status];

export default plugins;
