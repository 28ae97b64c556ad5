/** Puts the view of a run into an element of the page. Used by the widget entry and by the JupyterLab extension. */
import { render } from 'preact';

import { RunView } from './RunView';
import type { IRunViewOptions } from './context';

export type { IRunViewOptions } from './context';

export interface IMountedView {
  /** Take the view out of the page; the session stays. */
  dispose(): void;
}

export function mountRunView(element: HTMLElement, options: IRunViewOptions): IMountedView {
  render(<RunView {...options} />, element);
  return { dispose: () => render(null, element) };
}
