/** Ids and names as they are kept: whole up to a bound, beyond it their beginning and a sum of the rest. */

/** The longest that is kept whole, in UTF-16 units: well below what an index of a database takes. */
const most = 500

const sum = (text: string): string => {
  let a = 0x811c9dc5
  let b = 0x9e3779b9
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    a = Math.imul(a ^ unit, 0x01000193)
    b = Math.imul(b + unit + 0x6d2b79f5, 0x85ebca6b) ^ (b >>> 13)
  }
  return (a >>> 0).toString(16).padStart(8, "0") + (b >>> 0).toString(16).padStart(8, "0")
}

/** The same for the same id, whatever its length: what is written and what is looked for meet. */
export const kept = (id: string): string => id.length <= most ? id : `${id.slice(0, most - 17)}…${sum(id)}`
