/** The core: one concept, one module. */
/** A flow: a typed adjacency, closed and checked. */
export * as Flow from "./Flow.ts"
/** What the runtime itself fails with. */
export * as FlowError from "./FlowError.ts"
/** What happened, in the past tense. */
export * as FlowEvent from "./FlowEvent.ts"
/** Who watches. */
export * as FlowObserver from "./FlowObserver.ts"
/** The same graph with something else in the place of one node's run, or around it. */
export * as FlowRewrite from "./FlowRewrite.ts"
/** A flow, running. */
export * as FlowRuntime from "./FlowRuntime.ts"
/** Several branches of one trace become one value. */
export * as Join from "./Join.ts"
/** A controller that runs itself again. */
export * as Loop from "./Loop.ts"
/** A named Effect program between two schemas. */
export * as Node from "./Node.ts"
/** How one node's runs are guarded. */
export * as Policy from "./Policy.ts"
/** One of several ways on. */
export * as Router from "./Router.ts"
/** One message's whole way through a flow. */
export * as Trace from "./Trace.ts"
