/**
 * The way by which a visit was reached: the edges walked, the hops made, the item's place. Two 32-bit lanes, mixed at
 * each step; the same on every redelivery that decides alike, and independent of arrival order.
 */
export interface Way {
  readonly a: number
  readonly b: number
}

export const start: Way = { a: 0x811c9dc5 | 0, b: 0x9e3779b9 | 0 }

export const mixA = (a: number, n: number): number => Math.imul(a ^ n, 0x01000193)
export const mixB = (b: number, n: number): number => {
  const m = Math.imul(b + n + 0x6d2b79f5, 0x85ebca6b)
  return m ^ (m >>> 13)
}

/** The way of a value made of several, whatever order they came in: sorted before they are mixed. */
export const gathered = (ways: ReadonlyArray<Way>): Way => {
  let { a, b } = start
  for (const way of [...ways].sort((x, y) => x.a - y.a || x.b - y.b)) {
    a = mixA(mixA(a, way.a), way.b)
    b = mixB(mixB(b, way.b), way.a)
  }
  return { a, b }
}

const hex = (n: number): string => (n >>> 0).toString(16).padStart(8, "0")

export const show = (a: number, b: number): string => hex(a) + hex(b)
