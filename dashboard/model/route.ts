/** Where the page is: in the address, so that every view can be linked to. */

export type Route =
  | { readonly view: "flow"; readonly flow: string | undefined; readonly node: string | undefined }
  | { readonly view: "run"; readonly flow: string }
  | { readonly view: "traces"; readonly flow: string | undefined; readonly status: string | undefined }
  | { readonly view: "trace"; readonly flow: string; readonly traceId: string }
  | { readonly view: "jobs"; readonly state: string | undefined }
  | { readonly view: "job"; readonly id: string }
  | { readonly view: "migrations" }
  | { readonly view: "migration"; readonly name: string }
  | { readonly view: "unknown" }

export const routeOf = (hash: string): Route => {
  const [path = "", query = ""] = hash.replace(/^#/, "").split("?")
  const parts = path.split("/").filter((part) => part !== "").map(decoded)
  const [first, second, third, fourth] = parts
  const asked = new URLSearchParams(query)
  if (parts.length === 0) return { view: "flow", flow: undefined, node: undefined }
  if (first === "flows" && parts.length <= 2) return { view: "flow", flow: second, node: undefined }
  if (first === "flows" && second !== undefined && third === "nodes" && fourth !== undefined && parts.length === 4) {
    return { view: "flow", flow: second, node: fourth }
  }
  if (first === "flows" && second !== undefined && third === "run" && parts.length === 3) {
    return { view: "run", flow: second }
  }
  if (first === "traces" && parts.length === 1) {
    return { view: "traces", flow: asked.get("flow") ?? undefined, status: asked.get("status") ?? undefined }
  }
  if (first === "traces" && second !== undefined && third !== undefined && parts.length === 3) {
    return { view: "trace", flow: second, traceId: third }
  }
  if (first === "jobs" && parts.length === 1) return { view: "jobs", state: asked.get("state") ?? undefined }
  if (first === "jobs" && second !== undefined && parts.length === 2) return { view: "job", id: second }
  if (first === "migrations" && parts.length === 1) return { view: "migrations" }
  if (first === "migrations" && second !== undefined && parts.length === 2) return { view: "migration", name: second }
  return { view: "unknown" }
}

/** The address of a view. Names may hold anything. */
export const to = {
  flow: (flow: string) => `#/flows/${encodeURIComponent(flow)}`,
  node: (flow: string, node: string) => `#/flows/${encodeURIComponent(flow)}/nodes/${encodeURIComponent(node)}`,
  run: (flow: string) => `#/flows/${encodeURIComponent(flow)}/run`,
  traces: (filter: { readonly flow?: string | undefined; readonly status?: string | undefined } = {}) => {
    const query = new URLSearchParams()
    if (filter.flow !== undefined && filter.flow !== "") query.set("flow", filter.flow)
    if (filter.status !== undefined && filter.status !== "") query.set("status", filter.status)
    return query.size === 0 ? "#/traces" : `#/traces?${query}`
  },
  trace: (flow: string, traceId: string) => `#/traces/${encodeURIComponent(flow)}/${encodeURIComponent(traceId)}`,
  jobs: (state?: string) => state === undefined ? "#/jobs" : `#/jobs?state=${encodeURIComponent(state)}`,
  job: (id: string) => `#/jobs/${encodeURIComponent(id)}`,
  migrations: () => "#/migrations",
  migration: (name: string) => `#/migrations/${encodeURIComponent(name)}`
}

// ----------------------------------------------------------------------------------------------------------- internals

const decoded = (part: string): string => {
  try {
    return decodeURIComponent(part)
  } catch {
    return part
  }
}
