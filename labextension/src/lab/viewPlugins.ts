/**
 * The plugins that show a run: under its cell, in a tab, and as TensorBoard.
 */
import { ILabShell, ILayoutRestorer } from '@jupyterlab/application';
import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { IThemeManager, WidgetTracker } from '@jupyterlab/apputils';
import { INotebookTracker } from '@jupyterlab/notebook';
import { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import { ITranslator } from '@jupyterlab/translation';
import type { TranslationBundle } from '@jupyterlab/translation';

import { createBoard } from './board';
import { BoardOutput } from './boardOutput';
import { RUN_ARGUMENTS } from './commands';
import { boardIcon, runsIcon } from './icons';
import type { ILiveViewOptions } from './liveView';
import { askBoardPort } from './oneRequest';
import { openPanel } from './openPanel';
import { keepOutputsFresh } from './outputUpdates';
import { RunRenderer } from './renderer';
import { baseName } from './runInfo';
import { createRunPanel } from './runPanel';
import { RunTargets } from './targets';
import { BOARD_MIME_TYPE, CommandId, IRunList, PluginId, RUN_MIME_TYPE } from './tokens';
import { loadTexts } from './translation';

/** Before the widget's -10, which the widget manager takes in every notebook. */
const RENDERER_RANK = -100;

export const renderer: JupyterFrontEndPlugin<void> = {
  id: PluginId.renderer,
  description: 'Shows the output of a run live, by the folder of the run.',
  autoStart: true,
  requires: [IRenderMimeRegistry, IRunList],
  optional: [INotebookTracker, ITranslator],
  activate: (
    app: JupyterFrontEnd,
    rendermime: IRenderMimeRegistry,
    list: IRunList,
    notebooks: INotebookTracker | null,
    translator: ITranslator | null
  ): void => {
    const options = viewOptions(app, list, notebooks, loadTexts(translator));
    rendermime.addFactory(
      {
        safe: true,
        mimeTypes: [RUN_MIME_TYPE],
        createRenderer: ({ resolver }) => new RunRenderer({ ...options, resolver, notebooks, rendermime })
      },
      RENDERER_RANK
    );
    if (notebooks !== null) {
      keepOutputsFresh(notebooks);
    }
  }
};

export const view: JupyterFrontEndPlugin<void> = {
  id: PluginId.view,
  description: 'Opens a run in a tab of its own.',
  autoStart: true,
  requires: [IRunList],
  optional: [ILabShell, ILayoutRestorer, INotebookTracker, ITranslator],
  activate: (
    app: JupyterFrontEnd,
    list: IRunList,
    labShell: ILabShell | null,
    restorer: ILayoutRestorer | null,
    notebooks: INotebookTracker | null,
    translator: ITranslator | null
  ): void => {
    const trans = loadTexts(translator);
    const targets = new RunTargets(app, list, notebooks);
    const options = viewOptions(app, list, notebooks, trans);
    const tracker = new WidgetTracker<ReturnType<typeof createRunPanel>>({ namespace: 'lagom-magic-view' });
    app.commands.addCommand(CommandId.openRun, {
      label: trans.__('Open the run in a tab'),
      icon: runsIcon,
      describedBy: RUN_ARGUMENTS,
      execute: args =>
        openPanel(app, labShell, tracker, targets.named(args), run => createRunPanel({ ...options, run }))
    });
    void restorer?.restore(tracker, {
      command: CommandId.openRun,
      args: ({ content }) => ({ dir: content.dir, label: content.label }),
      name: ({ content }) => content.dir
    });
  }
};

export const board: JupyterFrontEndPlugin<void> = {
  id: PluginId.board,
  description: 'Opens TensorBoard of a run in a tab.',
  autoStart: true,
  requires: [IRenderMimeRegistry, IRunList],
  optional: [ILabShell, ILayoutRestorer, IThemeManager, INotebookTracker, ITranslator],
  activate: (
    app: JupyterFrontEnd,
    rendermime: IRenderMimeRegistry,
    list: IRunList,
    labShell: ILabShell | null,
    restorer: ILayoutRestorer | null,
    themes: IThemeManager | null,
    notebooks: INotebookTracker | null,
    translator: ITranslator | null
  ): void => {
    const trans = loadTexts(translator);
    const { client, settings } = list;
    const { kernels } = app.serviceManager;
    const targets = new RunTargets(app, list, notebooks);
    const tracker = new WidgetTracker<ReturnType<typeof createBoard>>({ namespace: 'lagom-magic-board' });
    rendermime.addFactory(
      {
        safe: false,
        mimeTypes: [BOARD_MIME_TYPE],
        createRenderer: () => new BoardOutput({ client, settings, themes, trans, kernels })
      },
      RENDERER_RANK
    );
    const isOpen = (dir: string): boolean =>
      tracker.find(({ content }) => baseName(content.dir) === baseName(dir)) !== undefined;
    const askPort = (dir: string): Promise<number> => askBoardPort(dir, client.serverSettings);
    app.commands.addCommand(CommandId.openBoard, {
      label: trans.__('Open TensorBoard of the run'),
      icon: boardIcon,
      describedBy: RUN_ARGUMENTS,
      execute: args =>
        openPanel(app, labShell, tracker, targets.named(args), run =>
          createBoard({ run, client, settings, themes, trans, kernels, askPort, isOpen })
        )
    });
    void restorer?.restore(tracker, {
      command: CommandId.openBoard,
      args: ({ content }) => ({ dir: content.dir, label: content.label }),
      name: ({ content }) => content.dir
    });
  }
};

/** What every view of a run needs of the page. */
function viewOptions(
  app: JupyterFrontEnd,
  list: IRunList,
  notebooks: INotebookTracker | null,
  trans: TranslationBundle
): Omit<ILiveViewOptions, 'dir'> {
  const targets = new RunTargets(app, list, notebooks);
  return {
    list,
    trans,
    openBoard: dir => void app.commands.execute(CommandId.openBoard, { dir }),
    drivingKernel: dir => targets.drivingKernel(dir)
  };
}
