/**
 * One run in a tab of its own.
 */
import { MainAreaWidget } from '@jupyterlab/apputils';
import { PanelLayout, Widget } from '@lumino/widgets';

import { runsIcon } from './icons';
import { LiveView } from './liveView';
import type { ILiveViewOptions } from './liveView';
import type { IRunTarget } from './notebookRuns';

export interface IRunPanelOptions extends Omit<ILiveViewOptions, 'dir'> {
  run: IRunTarget;
}

export function createRunPanel(options: IRunPanelOptions): MainAreaWidget<RunPanel> {
  const { run, trans } = options;
  const panel = new MainAreaWidget({ content: new RunPanel(options) });
  panel.toolbar.hide();
  panel.title.label = trans.__('Run: %1', run.label);
  panel.title.caption = run.dir;
  panel.title.icon = runsIcon;
  return panel;
}

export class RunPanel extends Widget {
  constructor(private readonly _options: IRunPanelOptions) {
    super();
    const { run, trans } = _options;
    this.addClass('lagom-RunPanel');
    this.node.tabIndex = -1;
    const layout = (this.layout = new PanelLayout());
    const live = new LiveView({ ..._options, dir: run.dir });
    layout.addWidget(live);
    void live.ready.then(isReady => {
      if (isReady || this.isDisposed) {
        return;
      }
      live.dispose();
      const message = new Widget();
      message.addClass('lagom-RunPanel-message');
      message.node.setAttribute('role', 'status');
      message.node.textContent = trans.__(
        'The Jupyter server does not see the run %1: was it deleted?',
        run.dir
      );
      layout.addWidget(message);
    });
  }

  get dir(): string {
    return this._options.run.dir;
  }

  get label(): string {
    return this._options.run.label;
  }

  protected override onActivateRequest(): void {
    this.node.focus({ preventScroll: true });
  }
}
