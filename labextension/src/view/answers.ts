/** Hooks that ask for what a trial's panel shows, again when the trial has changed. */
import { useCallback, useEffect, useRef, useState } from 'preact/hooks';

import { useView } from './context';
import type { ILogPiece, ITrialDetails } from '../model/details';
import type { ITrial } from '../model/messages';

/** Between two questions about a trial that changes all the time, in milliseconds. */
const CALM_MS = 1_000;
/** How far back one more piece of a log goes, in bytes. */
const EARLIER_BYTES = 48 * 1024;

export interface IAnswer<T> {
  readonly value: T | null;
  readonly error: string;
}

/** The trial's details; the last ones stay while newer ones are on their way. */
export function useDetails(trial: ITrial): IAnswer<ITrialDetails> {
  const { session } = useView();
  const [answer, setAnswer] = useState<IAnswer<ITrialDetails>>({ value: null, error: '' });
  const ask = useCallback(
    () =>
      session.trial(trial.id).then(
        value => setAnswer({ value, error: '' }),
        (error: unknown) => setAnswer(old => ({ ...old, error: messageOf(error) }))
      ),
    [session, trial.id]
  );
  useCalmly(ask, trial.changed_at);
  return answer;
}

export interface ILog extends IAnswer<ILogPiece> {
  readonly askEarlier: () => void;
}

/** The end of the attempt's log, growing with it; earlier pieces on request. */
export function useLog(trial: ITrial): ILog {
  const { session } = useView();
  const [answer, setAnswer] = useState<IAnswer<ILogPiece>>({ value: null, error: '' });
  const held = useRef<ILogPiece | null>(null);
  const take = useCallback((value: ILogPiece) => {
    held.current = value;
    setAnswer({ value, error: '' });
  }, []);
  const fail = useCallback((error: unknown) => setAnswer(old => ({ ...old, error: messageOf(error) })), []);
  const askNewer = useCallback(async () => {
    try {
      let before = held.current;
      const piece = await session.log(trial.id, trial.attempt, before === null ? -1 : before.end);
      before = held.current;
      take(
        before === null || piece.begin !== before.end
          ? piece
          : { ...piece, text: before.text + piece.text, begin: before.begin }
      );
    } catch (error) {
      fail(error);
    }
  }, [session, trial.id, trial.attempt, take, fail]);
  useCalmly(askNewer, trial.changed_at);
  const askEarlier = () => {
    const before = held.current;
    if (before === null || before.begin === 0) return;
    piecesUntil(offset => session.log(trial.id, trial.attempt, offset), before.begin).then(
      ([begin, text]) => take({ ...before, begin, text: text + before.text }),
      fail
    );
  };
  return { ...answer, askEarlier };
}

/** The log's bytes before `end`, from a line's start on: the pieces that lie between. */
async function piecesUntil(
  ask: (offset: number) => Promise<ILogPiece>,
  end: number
): Promise<[begin: number, text: string]> {
  let piece = await ask(Math.max(0, end - EARLIER_BYTES));
  const isWhole = piece.begin === 0;
  const cut = isWhole ? 0 : piece.text.indexOf('\n') + 1;
  const begin = piece.begin + new TextEncoder().encode(piece.text.slice(0, cut)).length;
  let text = piece.text.slice(cut);
  while (piece.end < end && piece.end > piece.begin) {
    piece = await ask(piece.end);
    text += piece.text;
  }
  return [begin, text];
}

/** Calls now, and again after changes, but with a pause in between. */
function useCalmly(ask: () => Promise<void>, change: number): void {
  const askedAt = useRef(0);
  const asker = useRef(ask);
  useEffect(() => {
    // Steady changes put the question off, but never beyond the pause after the last one.
    const wait = asker.current === ask ? Math.max(0, askedAt.current + CALM_MS - Date.now()) : 0;
    asker.current = ask;
    const timer = setTimeout(() => {
      askedAt.current = Date.now();
      void ask();
    }, wait);
    return () => clearTimeout(timer);
  }, [ask, change]);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
