/**
 * Single questions about a run, each over a socket of its own that is closed with the answer.
 */
import type { ServerConnection } from '@jupyterlab/services';

import type { IRun } from '../model/messages';
import { RunModel } from '../model/runModel';
import { RunSession } from '../model/session';
import { pythonLiteral } from '../view/format';
import { openRunSocket } from './runSocket';

/** The server has no extension of ours, or cannot see the run's folder. */
export class RunNotSeenError extends Error {
  constructor(dir: string) {
    super(`The Jupyter server does not see the run ${dir}.`);
    this.name = 'RunNotSeenError';
  }
}

/** The port of the run's TensorBoard, which is started when it is not there. */
export function askBoardPort(dir: string, settings: ServerConnection.ISettings): Promise<number> {
  return withSession(dir, settings, async session => {
    const board = await session.board();
    if (board === null) {
      throw new Error(`The answer for the TensorBoard of ${dir} names no port.`);
    }
    return board.port;
  });
}

async function withSession<T>(
  dir: string,
  settings: ServerConnection.ISettings,
  ask: (session: RunSession) => Promise<T>
): Promise<T> {
  const socket = openRunSocket(dir, settings);
  // Pages that are not seen draw nothing, so their model must not wait for a picture.
  const session = new RunSession(socket, new RunModel(callback => queueMicrotask(callback)));
  try {
    if (!(await socket.firstOpen)) {
      throw new RunNotSeenError(dir);
    }
    return await ask(session);
  } finally {
    session.dispose();
  }
}

/** The hyperparameters of the run's best trial as a Python dict to paste; null when no trial is complete. */
export function bestConfig(dir: string, settings: ServerConnection.ISettings): Promise<string | null> {
  return withSession(dir, settings, async session => {
    const { best_id } = await wholeRun(session.model);
    // Rows carry shortened numbers: the trial's details have them as they were.
    const hparams = best_id === null ? null : (await session.trial(best_id)).hparams;
    return hparams === null ? null : pythonLiteral(hparams);
  });
}

/** The run once all that the server sends at first is there. */
function wholeRun(model: RunModel): Promise<IRun> {
  return new Promise(resolve => {
    const look = (): void => {
      if (model.run !== null && !model.hasMore) {
        resolve(model.run);
      }
    };
    model.subscribe(look);
    look();
  });
}
