/** What a person should know: lost workers, retries, why the run ended. */
import { useView } from './context';
import { oneLine } from './format';
import { errorWords } from './words';
import type { IRun, ITrial } from '../model/messages';

const NOTICE_LIMIT = 4;

export interface INoticesProps {
  run: IRun;
  /** What to say of the connection; '' when there is nothing. */
  connection: string;
  /** The trial that failed first. */
  failed: ITrial | null;
  onOpen: (trial_id: number) => void;
}

export function Notices({ run, connection, failed, onOpen }: INoticesProps) {
  const { t } = useView();
  const texts = run.notices.slice(-NOTICE_LIMIT);
  const nEarlier = run.notices.length - texts.length;
  if (texts.length === 0 && run.state_reason === '' && connection === '' && failed === null) return null;
  return (
    <ul class="lagom-Notices">
      {connection !== '' && <li>{connection}</li>}
      {run.state_reason !== '' && (
        <li class={run.state === 'FAILED' ? 'lagom-state-failed' : ''}>{oneLine(run.state_reason, 400)}</li>
      )}
      {failed?.error && (
        <li class="lagom-state-failed">
          <button type="button" class="lagom-Link" onClick={() => onOpen(failed.id)}>
            {t._n(
              '%1 trial failed: %2',
              '%1 trials failed; the first: %2',
              Math.max(1, run.counts.FAILED),
              errorWords(t, failed.error)
            )}
          </button>
        </li>
      )}
      {texts.map((text, index) => (
        <li key={`${run.notices.length - texts.length + index}`}>{oneLine(text, 400)}</li>
      ))}
      {nEarlier > 0 && (
        <li>
          {t._n('%1 earlier notice in the run folder', '%1 earlier notices in the run folder', nEarlier)}
        </li>
      )}
    </ul>
  );
}

/** The failed trial that ended before all others. */
export function firstFailed(trials: readonly ITrial[]): ITrial | null {
  let first: ITrial | null = null;
  for (const trial of trials) {
    if (trial.state !== 'FAILED' || trial.error === null) continue;
    const endedAt = trial.ended_at ?? Infinity;
    const firstEndedAt = first?.ended_at ?? Infinity;
    if (first === null || endedAt < firstEndedAt || (endedAt === firstEndedAt && trial.id < first.id))
      first = trial;
  }
  return first;
}
