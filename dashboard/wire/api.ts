/** The server's interface: one function per request, and one error for all that can go wrong. */
import type { ErrorBody, FlowList, JobList, Replay, Report, Summary, TraceDetail } from "./types.ts"
import type { Job } from "./types.ts"

/** A request that was not answered with what it asked for. `status` is 0 where no answer came at all. */
export class ApiError extends Error {
  readonly status: number
  readonly code: string
  readonly path: string | undefined
  readonly node: string | undefined
  readonly traceId: string | undefined
  /** Seconds. */
  readonly retryAfter: number | undefined

  constructor(status: number, body: ErrorBody, retryAfter?: number) {
    super(body.error)
    this.status = status
    this.code = body.code
    this.path = body.path
    this.node = body.node
    this.traceId = body.traceId
    this.retryAfter = retryAfter
  }
}

/** Keeps the token for as long as the tab is open. Where storage is refused, as long as the page. */
export interface Tokens {
  get(): string | undefined
  set(token: string | undefined): void
}

export interface RunOptions {
  readonly traceId: string
  readonly tenant?: string | undefined
  readonly topic?: string | undefined
  /** Milliseconds from now. */
  readonly deadline?: string | undefined
}

export interface JobOptions {
  readonly id?: string | undefined
  readonly tenant?: string | undefined
  readonly delay?: string | undefined
  readonly priority?: string | undefined
}

type Query = Readonly<Record<string, string | number | boolean | undefined>>

export class Api {
  readonly #tokens: Tokens
  readonly #unauthorized: () => void

  constructor(tokens: Tokens, unauthorized: () => void) {
    this.#tokens = tokens
    this.#unauthorized = unauthorized
  }

  flows = (): Promise<FlowList> => this.#json("GET", "/api/flows")
  diagram = async (flow: string): Promise<string> =>
    (await this.#send("GET", `${flowPath(flow)}/diagram${queryOf({ format: "svg" })}`)).text()

  traces = (filter: Query): Promise<{ readonly traces: ReadonlyArray<Summary> }> =>
    this.#json("GET", `/api/traces${queryOf(filter)}`)
  /** Of whatever flow has it, where none is named. */
  trace = (flow: string | undefined, id: string): Promise<TraceDetail> => this.#json("GET", tracePath(flow, id))
  cancelTrace = (flow: string, id: string): Promise<{ readonly cancelled: boolean }> =>
    this.#json("POST", tracePath(flow, id, "/cancel"), { reason: "cancelled from the dashboard" })
  replay = (flow: string, id: string): Promise<Replay> => this.#json("POST", tracePath(flow, id, "/replay"))

  jobs = (filter: Query): Promise<JobList> => this.#json("GET", `/api/jobs${queryOf(filter)}`)
  job = (id: string): Promise<Job> => this.#json("GET", jobPath(id))
  cancelJob = (id: string): Promise<{ readonly cancelled: boolean }> => this.#json("POST", `${jobPath(id)}/cancel`)
  retryJob = (id: string): Promise<{ readonly requeued: number }> => this.#json("POST", `${jobPath(id)}/retry`)
  deleteJob = (id: string): Promise<{ readonly purged: number }> => this.#json("DELETE", jobPath(id))
  enqueue = (flow: string, input: unknown, options: JobOptions): Promise<{ readonly id: string }> =>
    this.#json("POST", `${flowPath(flow)}/jobs${queryOf({ ...options })}`, input)

  migrations = (): Promise<{ readonly migrations: ReadonlyArray<string> }> => this.#json("GET", "/api/migrations")
  migration = (name: string): Promise<Report> => this.#json("GET", `/api/migrations/${encodeURIComponent(name)}`)

  /** The run goes on when the page is left: it is detached. */
  stream = (flow: string, input: unknown, options: RunOptions, signal: AbortSignal): Promise<Response> =>
    this.#send("POST", `${flowPath(flow)}/stream${queryOf({ ...options, detach: true })}`, { body: input, signal })
  events = (lastId: string, signal: AbortSignal): Promise<Response> =>
    this.#send("GET", "/api/events", { signal, headers: lastId === "" ? {} : { "last-event-id": lastId } })

  async #json<A>(method: string, path: string, body?: unknown): Promise<A> {
    const answer = await this.#send(method, path, { body })
    try {
      // The server is of the same package as this page: its answers are of the types that both share.
      return await answer.json() as A
    } catch {
      throw new ApiError(answer.status, { error: "The server's answer is not JSON", code: "NOT_JSON" })
    }
  }

  async #send(
    method: string,
    path: string,
    options: {
      readonly body?: unknown
      readonly signal?: AbortSignal
      readonly headers?: Readonly<Record<string, string>>
    } = {}
  ): Promise<Response> {
    const token = this.#tokens.get()
    const answer = await fetch(path, {
      method,
      cache: "no-store",
      headers: {
        ...options.headers,
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...(options.body === undefined ? {} : { "content-type": "application/json" })
      },
      ...(options.body === undefined ? {} : { body: JSON.stringify(options.body) }),
      ...(options.signal === undefined ? {} : { signal: options.signal })
    }).catch((error: unknown) => {
      if (options.signal?.aborted) throw error
      throw new ApiError(0, { error: "The server does not answer", code: "UNREACHABLE" })
    })
    if (answer.ok) return answer
    if (answer.status === 401) this.#unauthorized()
    throw await refusalIn(answer)
  }
}

const flowPath = (flow: string): string => `/api/flows/${encodeURIComponent(flow)}`
const jobPath = (id: string): string => `/api/jobs/${encodeURIComponent(id)}`
const tracePath = (flow: string | undefined, id: string, action = ""): string =>
  `/api/traces/${encodeURIComponent(id)}${action}${queryOf({ flow })}`

const queryOf = (query: Query): string => {
  const pairs = Object.entries(query).filter(([, value]) => value !== undefined && value !== "")
  return pairs.length === 0
    ? ""
    : `?${new URLSearchParams(pairs.map(([key, value]): [string, string] => [key, String(value)]))}`
}

const refusalIn = async (answer: Response): Promise<ApiError> => {
  const retryAfter = Number(answer.headers.get("retry-after") ?? Number.NaN)
  const body: unknown = await answer.json().catch(() => undefined)
  return new ApiError(
    answer.status,
    isErrorBody(body) ? body : { error: `The server answered ${answer.status}`, code: `HTTP_${answer.status}` },
    Number.isNaN(retryAfter) ? undefined : retryAfter
  )
}

/** The body of a refusal, or of the event by which a stream ends. */
export const isErrorBody = (body: unknown): body is ErrorBody =>
  typeof body === "object" && body !== null && "error" in body && typeof body.error === "string" && "code" in body &&
  typeof body.code === "string"

/** What to do about an error; undefined where its own words say it. */
export const adviceFor = ({ code, retryAfter, status }: ApiError): string | undefined => {
  switch (status) {
    case 0:
      return "Is the server still running? The page goes on as soon as it answers."
    case 400:
      return "Correct the input and run it again."
    case 401:
      return "Enter the token that the server was started with."
    case 403:
      return "Open the page by an address that the server knows itself by, or add this one to its hosts."
    case 404:
      return "It may have been removed, or the server was started without it."
    case 409:
      return code === "DUPLICATE_TRACE" || code === "ID_CONFLICT" ? "Leave the id empty: a new one is made." : undefined
    case 413:
      return "Make the input smaller, or raise the server's limit."
    case 422:
      return "The node refused it: see the trace for its way there."
    case 429:
      return retryAfter === undefined ? "Try again in a moment." : `Try again in ${retryAfter} s.`
    case 500:
      return code === "NODE_EXCEPTION" || code === "INTERNAL" ? "The server's log and the trace say more." : undefined
    case 503:
      return "Try again in a moment."
    case 504:
      return "Give it more time, or find out which node is slow: the trace tells."
    default:
      return undefined
  }
}
