/** A flow whose layer is missing. */
import { first } from "./several.ts"

export const flow = first
