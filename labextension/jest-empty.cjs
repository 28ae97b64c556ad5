/** What a style sheet is in unit tests: its text is not needed there. */
module.exports = '';
