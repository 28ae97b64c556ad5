/** The files that a trial left, pictures drawn on request; bytes come by message and never by an address. */
import { useEffect, useRef, useState } from 'preact/hooks';

import { saveBlob } from './clipboard';
import { useView } from './context';
import { formatBytes, oneLine } from './format';

const PICTURE = /\.(png|jpe?g|gif|webp)$/i;
/** Small pictures are drawn without being asked for: so many, and of at most so many bytes. */
const AUTOMATIC_PICTURES = 2;
const AUTOMATIC_BYTES = 512 * 1024;
/** What a page may ask for, in bytes. */
const FILE_LIMIT_BYTES = 8 * 1024 * 1024;

export interface IArtifactsProps {
  trial_id: number;
  attempt: number;
  files: readonly { readonly path: string; readonly size_bytes: number }[];
}

export function Artifacts({ trial_id, attempt, files }: IArtifactsProps) {
  const { t } = useView();
  const small = files.filter(file => PICTURE.test(file.path) && file.size_bytes <= AUTOMATIC_BYTES);
  const automatic = new Set(small.slice(0, AUTOMATIC_PICTURES).map(file => file.path));
  return (
    <section>
      <h4>{t.__('Artifacts')}</h4>
      <ul class="lagom-Artifacts">
        {files.map(file => (
          <li key={file.path}>
            <span class="lagom-Artifacts-path">{oneLine(file.path, 200)}</span>
            <span class="lagom-Toolbar-note">{formatBytes(file.size_bytes)}</span>
            {!PICTURE.test(file.path) ? (
              <span class="lagom-Toolbar-note">{t.__('no picture: it lies in the folder below')}</span>
            ) : file.size_bytes > FILE_LIMIT_BYTES ? (
              <span class="lagom-Toolbar-note">
                {t.__(
                  'larger than %1, which a page may ask for: it lies in the folder below',
                  formatBytes(FILE_LIMIT_BYTES)
                )}
              </span>
            ) : (
              <Picture
                trial_id={trial_id}
                attempt={attempt}
                path={file.path}
                isAutomatic={automatic.has(file.path)}
              />
            )}
          </li>
        ))}
      </ul>
    </section>
  );
}

interface IPictureProps {
  trial_id: number;
  attempt: number;
  path: string;
  isAutomatic: boolean;
}

interface IDrawn {
  readonly blob: Blob;
  readonly address: string;
}

function Picture({ trial_id, attempt, path, isAutomatic }: IPictureProps) {
  const { t, session } = useView();
  const [isWanted, setIsWanted] = useState(isAutomatic);
  const [isLarge, setIsLarge] = useState(false);
  const [drawn, setDrawn] = useState<IDrawn | null>(null);
  const [error, setError] = useState('');
  useEffect(() => {
    if (!isWanted) return undefined;
    let made: string | null = null;
    let isGone = false;
    session.picture(trial_id, attempt, path).then(
      blob => {
        if (isGone) return;
        if (blob === null) {
          setError(t.__('This is no picture that can be shown here.'));
          return;
        }
        made = URL.createObjectURL(blob);
        setDrawn({ blob, address: made });
      },
      (reason: unknown) => {
        if (!isGone) setError(reason instanceof Error ? reason.message : String(reason));
      }
    );
    return () => {
      isGone = true;
      if (made !== null) URL.revokeObjectURL(made);
    };
  }, [session, trial_id, attempt, path, isWanted, t]);
  if (!isWanted) {
    return (
      <button type="button" class="lagom-Link" onClick={() => setIsWanted(true)}>
        {t.__('Show')}
      </button>
    );
  }
  if (error !== '') return <p class="lagom-Answer lagom-mod-error">{oneLine(error, 300)}</p>;
  if (drawn === null) return <p class="lagom-Empty">{t.__('loading…')}</p>;
  return (
    <>
      <button
        type="button"
        class="lagom-Link"
        onClick={() => saveBlob(path.split('/').pop() ?? path, drawn.blob)}
      >
        {t.__('Download')}
      </button>
      <button
        type="button"
        class="lagom-Artifacts-open"
        title={t.__('Show it large')}
        onClick={() => setIsLarge(true)}
      >
        <img class="lagom-Artifacts-picture" src={drawn.address} alt={oneLine(path, 200)} />
      </button>
      {isLarge && <Large address={drawn.address} path={path} onClose={() => setIsLarge(false)} />}
    </>
  );
}

/** A picture over the whole page, until Escape, its button or a click beside it. */
function Large({ address, path, onClose }: { address: string; path: string; onClose: () => void }) {
  const { t } = useView();
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => dialog.current?.showModal(), []);
  return (
    <dialog
      class="lagom-Large"
      ref={dialog}
      aria-label={oneLine(path, 200)}
      onClose={onClose}
      onClick={event => event.target === dialog.current && onClose()}
      onKeyDown={event => event.stopPropagation()}
    >
      <div class="lagom-Large-head">
        <span class="lagom-Artifacts-path">{oneLine(path, 200)}</span>
        <button
          type="button"
          class="lagom-Button lagom-mod-icon"
          aria-label={t.__('Close')}
          title={t.__('Close')}
          onClick={onClose}
        >
          ✕
        </button>
      </div>
      <img src={address} alt={oneLine(path, 200)} />
    </dialog>
  );
}
