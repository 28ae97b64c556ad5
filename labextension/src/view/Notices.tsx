/** What a person should know: lost workers, retries, why the run ended. */
import { useView } from './context';
import { oneLine } from './format';
import type { IRun } from '../model/messages';

const NOTICE_LIMIT = 4;

export function Notices({ run, connection }: { run: IRun; connection: string }) {
  const { t } = useView();
  const texts = run.notices.slice(-NOTICE_LIMIT);
  const nEarlier = run.notices.length - texts.length;
  if (texts.length === 0 && run.state_reason === '' && connection === '') return null;
  return (
    <ul class="lagom-Notices">
      {connection !== '' && <li>{connection}</li>}
      {run.state_reason !== '' && (
        <li class={run.state === 'FAILED' ? 'lagom-state-failed' : ''}>{oneLine(run.state_reason, 400)}</li>
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
