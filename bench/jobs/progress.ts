/** What is being measured: a line on stderr that the next one replaces, where somebody watches. */
export const progress = (sentence: string): void => {
  if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${sentence}`)
}
