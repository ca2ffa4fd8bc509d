/** A flow and its layer in one default export, among others. */
import { first, ten } from "./several.ts"

export { hundred, second } from "./several.ts"
export default { flow: first, layer: ten }
