/** What tests of flows are made with. */
/** One message through a flow, and faults wherever one wants them. */
export * as FlowTest from "./FlowTest.ts"
/** Whether a node may be run again. */
export * as Idempotency from "./Idempotency.ts"
