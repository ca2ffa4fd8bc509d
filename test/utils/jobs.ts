/** What a job's backend is asked, where a test cares for parts of it. */
import type * as JobStore from "penguiflow/JobStore"

/** A worker `w1` asks for ten jobs of the flow `echo`. */
export const ask = (more: Partial<JobStore.ClaimRequest> = {}): JobStore.ClaimRequest => ({
  workerId: "w1",
  flows: ["echo"],
  limit: 10,
  leaseMs: 60_000,
  after: "",
  without: [],
  tenantLimit: undefined,
  ...more
})

/** A job of the flow `echo`. */
export const newJob = (id: string, more: Partial<JobStore.NewJob> = {}): JobStore.NewJob => ({
  id,
  flow: "echo",
  payload: "1",
  tenant: "default",
  topic: undefined,
  priority: 0,
  meta: "{}",
  delayMs: 0,
  maxAttempts: 3,
  timeoutMs: undefined,
  ...more
})
