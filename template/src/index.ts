/** What the command line needs: a flow, and the layer that its nodes need. */
export { flow } from "./flow.ts"
export { layer } from "./layers.ts"
