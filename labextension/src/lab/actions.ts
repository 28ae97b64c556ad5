/**
 * What a person can do with a run, with its questions and answers on the screen; used by the commands.
 */
import { Clipboard, Dialog, Notification, showDialog, showErrorMessage } from '@jupyterlab/apputils';
import type { Kernel } from '@jupyterlab/services';
import type { TranslationBundle } from '@jupyterlab/translation';

import type { IRunTarget } from './notebookRuns';
import type { IRunList } from './tokens';

/** How long a message stays, in milliseconds. */
const TOLD_MS = 4000;

export class RunActions {
  constructor(
    private readonly _list: IRunList,
    private readonly _trans: TranslationBundle
  ) {}

  /**
   * Stop the run after a question: through the server to the driver, else by the kernel's interrupt.
   *
   * @param kernel - the one that runs the cell of the run, when it is known; its interrupt is what ■ does.
   */
  async stop(run: IRunTarget, kernel: Kernel.IKernelConnection | null): Promise<void> {
    const trans = this._trans;
    const isSure = await ask(
      trans.__('Stop the run of %1?', run.label),
      trans.__('Trials that are complete are kept; those that are running end.'),
      trans.__('Keep running'),
      trans.__('Stop the run')
    );
    if (!isSure) {
      return;
    }
    try {
      this._tell((await this._list.client.control(run.dir, 'stop')) || trans.__('The run stops.'));
    } catch (reason) {
      await this._list.refresh();
      await this._interrupt(this._isOver(run) ? null : kernel, sentence(reason));
    }
    await this._list.refresh();
  }

  /** Delete the folder of a past run after a question. */
  async remove(run: IRunTarget): Promise<void> {
    const trans = this._trans;
    const isSure = await ask(
      trans.__('Delete this run of %1?', run.label),
      trans.__(
        'Its folder and all of its trials, files and logs are deleted from the disk; exported models stay: %1',
        run.dir
      ),
      trans.__('Keep'),
      trans.__('Delete')
    );
    if (!isSure) {
      return;
    }
    try {
      await this._list.client.remove(run.dir);
    } catch (reason) {
      await showErrorMessage(trans.__('The run was not deleted'), sentence(reason));
    }
    await this._list.refresh();
  }

  /** Copy the text, and say so. */
  copy(text: string, message: string): void {
    Clipboard.copyToSystem(text);
    Notification.success(message, { autoClose: TOLD_MS });
  }

  /** Whether the run is listed and not alive; its kernel may do something else by now. */
  private _isOver(run: IRunTarget): boolean {
    return this._list.runs.some(listed => listed.dir === run.dir && !listed.is_live);
  }

  private _tell(message: string): void {
    Notification.info(message, { autoClose: TOLD_MS });
  }

  private async _interrupt(kernel: Kernel.IKernelConnection | null, why: string): Promise<void> {
    const trans = this._trans;
    if (kernel === null) {
      await showErrorMessage(trans.__('The run was not stopped'), trans.__('%1 Use ■ in its notebook.', why));
      return;
    }
    try {
      await kernel.interrupt();
      this._tell(trans.__('The kernel was interrupted; the run stops.'));
    } catch (reason) {
      await showErrorMessage(trans.__('The run was not stopped'), sentence(reason));
    }
  }
}

/** Whether the person agreed to something that cannot be taken back. */
async function ask(title: string, body: string, noLabel: string, yesLabel: string): Promise<boolean> {
  const result = await showDialog({
    title,
    body,
    defaultButton: 0,
    buttons: [Dialog.cancelButton({ label: noLabel }), Dialog.warnButton({ label: yesLabel })]
  });
  return result.button.accept;
}

/** The error as a sentence for a person. */
export function sentence(reason: unknown): string {
  return reason instanceof Error ? reason.message : String(reason);
}
