/** Also in package.json; a test compares. */
export const WEFT_VERSION = '0.1.0';
