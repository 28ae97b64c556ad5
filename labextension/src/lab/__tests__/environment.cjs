/** jsdom with Node's own fetch, so that requests reach a real server on loopback, and what JupyterLab's parts need. */
const { TestEnvironment } = require('jest-environment-jsdom');

module.exports = class extends TestEnvironment {
  async setup() {
    await super.setup();
    Object.assign(this.global, { fetch, Request, Response, Headers, AbortSignal, AbortController });
    this.global.DragEvent = class DragEvent extends this.global.MouseEvent {};
    this.global.matchMedia = query => ({
      media: query,
      matches: false,
      addListener() {},
      addEventListener() {}
    });
  }
};
