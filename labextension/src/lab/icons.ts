/**
 * Our icons; their colours follow the theme by JupyterLab's icon classes.
 */
import { LabIcon } from '@jupyterlab/ui-components';

const FILL = 'class="jp-icon3 jp-icon-selectable" fill="#616161"';

/** Trials of different height, the best one under a dot: runs. */
export const runsIcon = new LabIcon({
  name: 'lagom-magic:runs',
  svgstr: `<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24"><g ${FILL}>
    <rect x="3" y="14" width="4" height="7" rx="1"/><rect x="10" y="9" width="4" height="12" rx="1"/>
    <rect x="17" y="12" width="4" height="9" rx="1"/><circle cx="12" cy="4.5" r="2.5"/></g></svg>`
});

/** Curves between axes: TensorBoard. */
export const boardIcon = new LabIcon({
  name: 'lagom-magic:board',
  svgstr: `<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24"><g ${FILL}>
    <path d="M3 3h2v16h16v2H3z"/>
    <path d="M7 15.6 11.2 9l3.6 3.2L19.4 5l1.7 1-5.8 9.3-3.6-3.2L8.7 16.7z"/></g></svg>`
});
