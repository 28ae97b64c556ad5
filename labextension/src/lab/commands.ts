/**
 * The commands on runs: those of the side bar's entries, and those of the palette on the notebook in front.
 */
import type { JupyterFrontEnd } from '@jupyterlab/application';
import type { ICommandPalette } from '@jupyterlab/apputils';
import { Notification } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import { copyIcon, deleteIcon, refreshIcon, stopIcon } from '@jupyterlab/ui-components';

import { RunActions, sentence } from './actions';
import { boardIcon, runsIcon } from './icons';
import type { IRunTarget } from './notebookRuns';
import { SIDEBAR_ID } from './sidebarWidget';
import type { RunTargets } from './targets';
import { CommandId } from './tokens';
import type { IRunList } from './tokens';

/** What the arguments of a command on one run look like. */
export const RUN_ARGUMENTS = {
  args: {
    type: 'object',
    properties: {
      dir: { type: 'string', description: "The run's folder; without it the run whose entry was clicked." },
      label: { type: 'string', description: "The experiment's name." }
    }
  }
};

export interface ICommandsOptions {
  app: JupyterFrontEnd;
  list: IRunList;
  targets: RunTargets;
  trans: TranslationBundle;
  /** The best configuration of the run, as text to paste; null when no trial is complete. */
  bestConfig(dir: string): Promise<string | null>;
}

/** Add the commands on a run that an entry of the side bar stands for. */
export function addRunCommands({ app, list, targets, trans }: ICommandsOptions): void {
  const actions = new RunActions(list, trans);
  app.commands.addCommand(CommandId.stopRun, {
    label: trans.__('Stop the run'),
    icon: stopIcon,
    describedBy: RUN_ARGUMENTS,
    execute: args => withRun(targets.named(args), run => actions.stop(run, targets.drivingKernel(run.dir)))
  });
  app.commands.addCommand(CommandId.copyPath, {
    label: trans.__('Copy the path of the run'),
    icon: copyIcon,
    describedBy: RUN_ARGUMENTS,
    execute: args =>
      withRun(targets.named(args), run => actions.copy(run.dir, trans.__('The path of the run was copied.')))
  });
  app.commands.addCommand(CommandId.deleteRun, {
    label: trans.__('Delete the run…'),
    icon: deleteIcon,
    describedBy: RUN_ARGUMENTS,
    execute: args => withRun(targets.named(args), run => actions.remove(run))
  });
}

/** Add the commands that the palette offers; those on the run of the notebook in front are off without one. */
export function addPageCommands({ app, list, targets, trans, bestConfig }: ICommandsOptions): void {
  const { commands } = app;
  const actions = new RunActions(list, trans);
  const hasRun = (): boolean => targets.current() !== null;
  commands.addCommand(CommandId.showRuns, {
    label: trans.__('Show the lagom runs'),
    icon: runsIcon,
    describedBy: {},
    execute: () => app.shell.activateById(SIDEBAR_ID)
  });
  commands.addCommand(CommandId.refreshRuns, {
    label: trans.__('Refresh the list of lagom runs'),
    icon: refreshIcon,
    describedBy: {},
    execute: () => list.refresh()
  });
  commands.addCommand(CommandId.openCurrent, {
    label: trans.__('Open the run of this notebook in a tab'),
    icon: runsIcon,
    describedBy: {},
    isEnabled: hasRun,
    execute: () => withRun(targets.current(), run => commands.execute(CommandId.openRun, { ...run }))
  });
  commands.addCommand(CommandId.stopCurrent, {
    label: trans.__('Stop the run of this notebook'),
    icon: stopIcon,
    describedBy: {},
    isEnabled: () => {
      const run = targets.current();
      return run !== null && list.runs.every(listed => listed.dir !== run.dir || listed.is_live);
    },
    execute: () => withRun(targets.current(), run => actions.stop(run, targets.drivingKernel(run.dir)))
  });
  commands.addCommand(CommandId.openCurrentBoard, {
    label: trans.__('Open TensorBoard of the run of this notebook'),
    icon: boardIcon,
    describedBy: {},
    isEnabled: hasRun,
    execute: () => withRun(targets.current(), run => commands.execute(CommandId.openBoard, { ...run }))
  });
  commands.addCommand(CommandId.copyCurrentBest, {
    label: trans.__('Copy the best configuration of the run of this notebook'),
    icon: copyIcon,
    describedBy: {},
    isEnabled: hasRun,
    execute: () => withRun(targets.current(), run => copyBest(run))
  });
  list.changed.connect(() => {
    [
      CommandId.openCurrent,
      CommandId.stopCurrent,
      CommandId.openCurrentBoard,
      CommandId.copyCurrentBest
    ].forEach(id => commands.notifyCommandChanged(id));
  });

  async function copyBest(run: IRunTarget): Promise<void> {
    try {
      const best = await bestConfig(run.dir);
      if (best === null) {
        Notification.info(trans.__('No trial of %1 is complete yet.', run.label), { autoClose: 4000 });
      } else {
        actions.copy(best, trans.__('The best configuration of %1 was copied.', run.label));
      }
    } catch (reason) {
      Notification.error(trans.__('The best configuration was not copied: %1', sentence(reason)), {
        autoClose: 6000
      });
    }
  }
}

/** Add the palette's entries. */
export function addToPalette(palette: ICommandPalette, trans: TranslationBundle): void {
  const category = trans.__('Lagom');
  [
    CommandId.showRuns,
    CommandId.refreshRuns,
    CommandId.openCurrent,
    CommandId.stopCurrent,
    CommandId.openCurrentBoard,
    CommandId.copyCurrentBest
  ].forEach(command => palette.addItem({ command, category }));
}

async function withRun(run: IRunTarget | null, act: (run: IRunTarget) => unknown): Promise<void> {
  if (run !== null) {
    await act(run);
  }
}
