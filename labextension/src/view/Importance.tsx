/** How much each hyperparameter moved the metric, as bars; asked again when clearly more trials are complete. */
import { useEffect, useState } from 'preact/hooks';

import { useView } from './context';
import { formatPercent, oneLine } from './format';
import { RequestError } from '../model/client';

/** Fewer complete trials say nothing. */
export const TRIALS_FOR_IMPORTANCE = 10;
const BAR_LIMIT = 10;

export function Importance({ nComplete }: { nComplete: number }) {
  const { t, session } = useView();
  const [shares, setShares] = useState<readonly (readonly [string, number])[] | null>(null);
  const [error, setError] = useState('');
  // The question repeats at 10, 12, 15, 18 … complete trials.
  const generation = Math.floor(Math.log(nComplete / TRIALS_FOR_IMPORTANCE) / Math.log(1.2));
  useEffect(() => {
    let isWanted = true;
    session
      .importance()
      .then(value => {
        if (!isWanted) return;
        setShares(value);
        setError('');
      })
      .catch((reason: unknown) => {
        if (!(reason instanceof RequestError)) throw reason;
        if (isWanted)
          setError(reason.reason === 'refused' ? reason.message : t.__('The kernel did not answer.'));
      });
    return () => {
      isWanted = false;
    };
  }, [session, generation, t]);
  return (
    <section class="lagom-Importance">
      <h3>{t.__('importance')}</h3>
      {shares === null ? (
        <p class="lagom-Empty">{error !== '' ? oneLine(error, 200) : t.__('computing…')}</p>
      ) : (
        <ul>
          {shares.slice(0, BAR_LIMIT).map(([name, share]) => (
            <li key={name}>
              <span class="lagom-Importance-name">{oneLine(name, 24)}</span>
              <span class="lagom-Importance-bar" aria-hidden="true">
                <span style={{ width: `${100 * Math.min(1, Math.max(0, share))}%` }} />
              </span>
              <span class="lagom-Importance-share">{formatPercent(share)}</span>
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}
