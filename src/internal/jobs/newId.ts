/** Ids of jobs that are given none: UUIDs of version 7, which begin with the time. */

const { crypto } = globalThis
let last = 0

/**
 * A new one. Those of one time lie side by side in a database's index, where random ones would each change a page of
 * their own, three times in a job's life. A later one of the same process is never of an earlier millisecond.
 */
export const newId = (): string => {
  last = Math.max(last, Date.now())
  const time = last.toString(16).padStart(12, "0")
  // What follows the time and the version is random, the variant's two bits apart.
  return `${time.slice(0, 8)}-${time.slice(8)}-7${crypto.randomUUID().slice(15)}`
}
