/** What every component of one run view may use: the run, the words, and what the page around it can do. */
import { createContext } from 'preact';
import { useContext } from 'preact/hooks';

import type { ITranslator } from '../i18n';
import type { ControlAction } from '../model/messages';
import type { RunSession } from '../model/session';

export interface IRunViewOptions {
  session: RunSession;
  /** English without one. */
  translator?: ITranslator;
  /** The run's folder, as a person should read it. */
  folder?: string;
  /** Show the run's TensorBoard; without it the view asks for the address and shows that. */
  openBoard?: () => void | Promise<void>;
  /** Another way to steer the run than the session's; resolves with what will happen, in words. */
  control?: (action: ControlAction, trial_id: number | null) => Promise<string>;
}

export interface IViewContext extends IRunViewOptions {
  t: ITranslator;
}

const Context = createContext<IViewContext | null>(null);

export const ViewProvider = Context.Provider;

export function useView(): IViewContext {
  const context = useContext(Context);
  if (context === null) throw new Error('A part of the run view stands outside of it.');
  return context;
}
