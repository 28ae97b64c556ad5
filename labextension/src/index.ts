/** What JupyterLab loads: the list of our plugins. */
export { default } from './lab/plugins';
