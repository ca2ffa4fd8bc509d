/** Numbers and times in words. */

const round = (value: number, digits: number): string => value.toFixed(digits).replace(/\.0+$/, "")

/** Milliseconds as a person says it: `0.4 ms`, `412 ms`, `3.2 s`, `4 min 10 s`, `2 h 5 min`. */
export const durationIn = (ms: number): string => {
  if (ms < 10) return `${round(ms, 1)} ms`
  if (ms < 1000) return `${Math.round(ms)} ms`
  if (ms < 60_000) return `${round(ms / 1000, ms < 10_000 ? 2 : 1)} s`
  const seconds = Math.round(ms / 1000)
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`
  return `${Math.floor(seconds / 3600)} h ${Math.floor(seconds % 3600 / 60)} min`
}

/** How long ago, in the largest unit that fits. */
export const ago = (at: number, now: number): string => {
  const seconds = Math.round((now - at) / 1000)
  if (seconds < -1) return `in ${span(-seconds)}`
  return seconds < 1 ? "now" : `${span(seconds)} ago`
}

const span = (seconds: number): string => {
  if (seconds < 60) return `${seconds} s`
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h`
  return `${Math.floor(seconds / 86_400)} d`
}

/** The instant itself, in the time of whoever looks, to the millisecond. */
export const exact = (at: number): string => {
  const date = new Date(at)
  if (Number.isNaN(date.getTime())) return "unknown"
  const two = (value: number) => String(value).padStart(2, "0")
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ` +
    `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${
      String(date.getMilliseconds()).padStart(3, "0")
    }`
}

/** `1 234`, with a narrow space. */
export const count = (value: number): string => String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, "\u202F")

export const plural = (value: number, one: string, many: string = `${one}s`): string =>
  `${count(value)} ${value === 1 ? one : many}`

export const percent = (share: number): string => `${round(share * 100, 2)} %`
