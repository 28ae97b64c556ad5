/** Steering from a button: what was asked, what the answer was, and what to do without one. */
import { useState } from 'preact/hooks';

import { useView } from './context';
import { oneLine } from './format';
import { RequestError } from '../model/client';
import type { ControlAction } from '../model/messages';

export interface IControlState {
  readonly phase: 'idle' | 'sent' | 'accepted' | 'failed';
  /** What will happen, or why nothing will; '' while there is nothing to say. */
  readonly text: string;
}

/** The state of one button, and the function that it calls. */
export function useControl(
  action: ControlAction,
  trial_id: number | null
): [state: IControlState, send: () => Promise<void>] {
  const { t, session, control } = useView();
  const [state, setState] = useState<IControlState>({ phase: 'idle', text: '' });
  const send = async () => {
    setState({ phase: 'sent', text: '' });
    try {
      const text = await (control?.(action, trial_id) ?? session.control(action, trial_id));
      setState({ phase: 'accepted', text: oneLine(text, 300) });
    } catch (error) {
      setState({ phase: 'failed', text: failureText(error) });
    }
  };
  const failureText = (error: unknown): string => {
    const advice =
      action === 'stop'
        ? t.__('Press ■ in the toolbar to stop the run.')
        : t.__('■ in the toolbar stops the whole run.');
    const reason =
      error instanceof RequestError && error.reason !== 'refused'
        ? t.__('The kernel did not answer.')
        : oneLine(error instanceof Error ? error.message : String(error), 300);
    return `${reason} ${advice}`;
  };
  return [state, send];
}
