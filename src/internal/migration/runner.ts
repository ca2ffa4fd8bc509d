/** What a migration does with a request. */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberSet from "effect/FiberSet"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import type { Flow } from "../../Flow.ts"
import { FlowError } from "../../FlowError.ts"
import type { FlowRuntime, RunOptions } from "../../FlowRuntime.ts"
import type { AnySchema } from "../definition.ts"
import { type Plan, planOf } from "../plan.ts"
import { makeRuntime, runOnce } from "../runtime.ts"
import { type CompareOptions, comparer, errorComparer } from "./compare.ts"
import { failureOf } from "./json.ts"
import type { Store } from "./memory.ts"
import { Recorder } from "./recorder.ts"
import { type Live, placeOf, reader } from "./side.ts"

type Mode = "legacy" | "shadow" | "canary" | "flow"
type AnyEffect = Effect.Effect<unknown, unknown>
interface Request extends RunOptions {
  readonly key?: string | undefined
}

/** `Migration.Options`, without its types. */
export interface RunnerOptions {
  readonly legacy: (input: never, context: never) => unknown
  readonly flow: Flow<string, never, unknown, unknown, unknown, unknown>
  readonly mode: Live<Mode>
  readonly share?: Live<number> | undefined
  readonly shadow?: {
    readonly layer?: Layer.Layer<never, unknown, never> | undefined
    readonly around?: ((shadow: AnyEffect) => Effect.Effect<unknown, unknown, unknown>) | undefined
    readonly timeout?: Duration.Input | undefined
    readonly maxConcurrent?: number | undefined
    readonly sample?: number | undefined
  } | undefined
  readonly compare?: CompareOptions<never, never> | undefined
  readonly fallback?: ((error: never) => boolean) | undefined
  readonly maxInFlight?: number | undefined
}

const isMode = (u: unknown): u is Mode => u === "legacy" || u === "shadow" || u === "canary" || u === "flow"
const isShare = (u: unknown): u is number => typeof u === "number" && u >= 0 && u <= 1

const faultOf = ({ fallback, legacy, maxInFlight, shadow }: RunnerOptions): string | undefined => {
  if (typeof legacy !== "function") return "`legacy` is no function"
  if (fallback !== undefined && typeof fallback !== "function") return "`fallback` is no function"
  if (maxInFlight !== undefined && !(maxInFlight > 0)) return `maxInFlight is ${maxInFlight}, and takes a number from 1`
  if (shadow === undefined) return undefined
  const { maxConcurrent, sample, timeout } = shadow
  if (sample !== undefined && !isShare(sample)) return `shadow.sample is ${sample}, and takes a number from 0 to 1`
  if (maxConcurrent !== undefined && !(Number.isSafeInteger(maxConcurrent) && maxConcurrent > 0)) {
    return `shadow.maxConcurrent is ${maxConcurrent}, and takes a whole number from 1`
  }
  if (timeout === undefined) return undefined
  const given = Duration.fromInput(timeout)
  return given._tag === "Some" && Duration.toMillis(given.value) > 0
    ? undefined
    : `shadow.timeout is ${String(timeout)}, and takes a duration above 0`
}

/** The schema of a flow's answer, where it has one egress node. */
const outputOf = (plan: Plan): AnySchema | undefined => {
  const [only, ...more] = plan.steps.filter((step) => step.egress >= 0)
  if (only === undefined || more.length > 0) return undefined
  return only.kind === "flow" ? outputOf(only.inner!) : only.definition.output
}

const isPromise = (u: unknown): u is PromiseLike<unknown> =>
  typeof u === "object" && u !== null && "then" in u && typeof u.then === "function"

/** Legacy as an Effect. Its rejection is a failure, and what it throws dies: each with the very value. */
const legacyOf = (legacy: RunnerOptions["legacy"], input: unknown, options: Request | undefined): AnyEffect =>
  Effect.suspend(() => {
    let controller: AbortController | undefined
    const context = {
      ...options,
      get signal() {
        return (controller ??= new AbortController()).signal
      }
    }
    const answer = legacy(input as never, context as never)
    if (Effect.isEffect(answer)) return answer as AnyEffect
    if (!isPromise(answer)) return Effect.succeed(answer)
    return Effect.callback<unknown, unknown>((resume) => {
      answer.then((value) => resume(Exit.succeed(value)), (error: unknown) => resume(Exit.fail(error)))
      return Effect.sync(() => controller?.abort())
    })
  })

/** What a side ended with, for the comparison: a value, or an error and whether it is one. */
type Ended = { readonly failed: false; readonly value: unknown } | { readonly failed: true; readonly error: unknown }

const endOf = (exit: Exit.Exit<unknown, unknown>): Ended => {
  if (Exit.isSuccess(exit)) return { failed: false, value: exit.value }
  const [reason] = exit.cause.reasons
  const error = reason?._tag === "Fail" ? reason.error : reason?._tag === "Die" ? reason.defect : exit.cause
  // A node that dies is the flow's word for what legacy throws.
  return {
    failed: true,
    error: error instanceof FlowError && error.reason._tag === "NodeDied" ? error.reason.defect : error
  }
}

const millis = (nanos: bigint): number => Number(nanos) / 1e6

type AnyRuntime = FlowRuntime<never, unknown, unknown, unknown>

/** Services whose types were checked where they were given. */
const runtimeOf = (
  flow: RunnerOptions["flow"],
  maxInFlight: number,
  services: Context.Context<never>,
  scope: Scope.Scope
): Effect.Effect<AnyRuntime> =>
  Effect.provideContext(
    makeRuntime(flow, { maxInFlight }) as Effect.Effect<AnyRuntime, never, Scope.Scope>,
    Context.add(services, Scope.Scope, scope)
  )

/** The same for what runs with them. */
const provide = (effect: Effect.Effect<unknown, unknown, unknown>, services: Context.Context<never>): AnyEffect =>
  Effect.provideContext(effect as AnyEffect, services)

/** Makes the part of a migration that runs requests, in the current scope. */
export const makeRunner = (
  name: string,
  anyOptions: object,
  store: Store<unknown>
): Effect.Effect<
  {
    readonly run: (input: unknown, options?: Request) => AnyEffect
    readonly counters: Effect.Effect<object>
    readonly settled: Effect.Effect<void>
  },
  never,
  Scope.Scope
> =>
  Effect.gen(function*() {
    // The public signature has checked the types of the options against each other.
    const options = anyOptions as RunnerOptions
    const fault = faultOf(options)
    if (fault !== undefined) {
      return yield* Effect.die(new RangeError(`The migration "${name}" can't be made: ${fault}`))
    }
    const scope = yield* Scope.Scope
    const services = Context.omit(Scope.Scope)(yield* Effect.context<Scope.Scope>()) as Context.Context<never>
    const mode = reader(options.mode, isMode, "legacy", `The mode of the migration "${name}"`)
    const share = reader(options.share ?? 0, isShare, 0, `The share of the migration "${name}"`)
    const live = yield* runtimeOf(options.flow, options.maxInFlight ?? Infinity, services, scope)
    const recorder = new Recorder(name, store)
    yield* recorder.run
    const shadow = yield* makeShadow(name, options, recorder, services, scope)
    const counts = { legacy: 0, flow: 0, fallbacks: 0 }

    const legacy = (input: unknown, request: Request | undefined): AnyEffect =>
      Effect.updateContext(
        legacyOf(options.legacy, input, request),
        (caller: Context.Context<never>) => Context.merge(services, caller)
      )
    const legacyAnswers = (input: unknown, request: Request | undefined): AnyEffect => {
      counts.legacy++
      return legacy(input, request)
    }
    const fallsBack = (error: unknown): boolean => options.fallback!(error as never)
    const flowAnswers = (input: unknown, request: Request | undefined): AnyEffect => {
      counts.flow++
      const running = live.run(input as never, request)
      if (options.fallback === undefined) return running
      return Effect.catch(running, (error) => {
        if (!fallsBack(error)) return Effect.fail(error)
        counts.fallbacks++
        return Effect.flatMap(Clock.currentTimeMillis, (at) => {
          const traceId = request?.traceId ?? (error instanceof FlowError ? error.traceId : "")
          recorder.add({ _tag: "FellBack", migration: name, at, traceId, error: failureOf(error) })
          return legacy(input, request)
        })
      })
    }
    const keyOf = (request: Request | undefined): string => {
      const tenant = request?.headers?.tenant
      return request?.key ?? (tenant === undefined || tenant === "default" ? request?.traceId : tenant) ??
        globalThis.crypto.randomUUID()
    }
    return {
      run: (input, request) =>
        Effect.flatMap(mode, (now): AnyEffect => {
          switch (now) {
            case "legacy":
              return legacyAnswers(input, request)
            case "flow":
              return flowAnswers(input, request)
            case "canary":
              return Effect.flatMap(
                share,
                (part) =>
                  placeOf(name, keyOf(request)) < part ? flowAnswers(input, request) : legacyAnswers(input, request)
              )
            case "shadow":
              return Effect.withFiber((fiber) => {
                const clock = fiber.getRef(Clock.Clock)
                const begun = clock.monotonicTimeNanosUnsafe()
                return Effect.onExit(legacyAnswers(input, request), (exit) =>
                  Effect.sync(() => {
                    if (Exit.hasInterrupts(exit)) return
                    const legacyMs = millis(clock.monotonicTimeNanosUnsafe() - begun)
                    shadow.begin(input, request, exit, legacyMs, clock.currentTimeMillisUnsafe())
                  }))
              })
          }
        }),
      counters: Effect.sync(() => ({
        ...counts,
        ...shadow.counts,
        lost: recorder.lost,
        storeFailure: recorder.failure
      })),
      settled: Effect.andThen(shadow.idle.await, recorder.idle.await)
    }
  })

interface Shadow {
  readonly counts: { readonly shadowed: number; readonly busy: number; readonly sampled: number }
  readonly idle: Latch.Latch
  /** Never throws and never waits. */
  readonly begin: (
    input: unknown,
    request: Request | undefined,
    legacy: Exit.Exit<unknown, unknown>,
    legacyMs: number,
    at: number
  ) => void
}

const makeShadow = Effect.fnUntraced(function*(
  name: string,
  options: RunnerOptions,
  recorder: Recorder,
  services: Context.Context<never>,
  scope: Scope.Scope
): Effect.fn.Return<Shadow, never, Scope.Scope> {
  const { around, layer, maxConcurrent = 16, sample = 1, timeout = "30 seconds" } = options.shadow ?? {}
  const limit = Duration.toMillis(Duration.fromInputUnsafe(timeout))
  const schema = options.compare?.schema ?? schemaOf(options.flow)
  const values = comparer(options.compare ?? {}, schema)
  const errors = errorComparer(options.compare ?? {})
  const fibers = yield* FiberSet.make<void, never>()
  const fork = yield* FiberSet.runtime(fibers)<never>()
  const random = Context.get(services, Random.Random)
  const counts = { shadowed: 0, busy: 0, sampled: 0 }
  const idle = Latch.makeUnsafe(true)
  let open = 0
  let active = 0

  // Built by the first shadow that needs it; where that fails, the next one tries again.
  const building = yield* Semaphore.make(1)
  let built: ((input: unknown, request: RunOptions) => AnyEffect) | undefined
  const build = Effect.gen(function*() {
    if (built !== undefined) return built
    const provided = layer === undefined
      ? services
      : Context.merge(
        services,
        // Built afresh: a layer that the flow itself has, too, would else be the very same one, and write where it writes.
        yield* Effect.provideContext(Layer.buildWithMemoMap(layer, Layer.makeMemoMapUnsafe(), scope), services)
      )
    if (around !== undefined) {
      // Provided within, too: what stands around may add to the services, an open transaction for one.
      return built = (input, request) =>
        provide(around(provide(runOnce(options.flow, input as never, request), provided)), provided)
    }
    const runtime = yield* runtimeOf(options.flow, Infinity, provided, scope)
    return built = (input, request) => runtime.run(input as never, request)
  })
  const prepared = Effect.suspend(() => built === undefined ? building.withPermit(build) : Effect.succeed(built))

  const shadowOf = Effect.fnUntraced(function*(
    input: unknown,
    request: Request | undefined,
    legacy: Ended,
    legacyMs: number,
    at: number
  ) {
    const clock = yield* Clock.Clock
    const traceId = request?.traceId ?? globalThis.crypto.randomUUID()
    const run = yield* Effect.exit(prepared)
    const begun = clock.monotonicTimeNanosUnsafe()
    const exit = Exit.isSuccess(run)
      ? yield* Effect.exit(Effect.timeoutOrElse(
        Effect.suspend(() => run.value(input, { ...request, traceId, deadline: limit })),
        // The flow's own deadline comes first; this is for what stands around it.
        {
          duration: limit + 10_000,
          orElse: () => Effect.fail({ _tag: "ShadowTimedOut", message: `after ${limit} ms` })
        }
      ))
      : run
    const flowMs = millis(clock.monotonicTimeNanosUnsafe() - begun)
    const flow = endOf(exit)
    const refused = flow.failed && flow.error instanceof FlowError ? flow.error.reason._tag : undefined
    // The migration ends, and its shadows with it.
    if (refused === "ShuttingDown") return
    if (refused === "DuplicateTrace") {
      counts.busy++
      recorder.skip("busy", at)
      return
    }
    const entry = {
      _tag: "Compared" as const,
      migration: name,
      at,
      traceId,
      legacyMs,
      flowMs,
      ...(legacy.failed ? { legacyError: failureOf(legacy.error) } : {}),
      ...(flow.failed ? { flowError: failureOf(flow.error) } : {})
    }
    if (legacy.failed !== flow.failed) {
      recorder.add({ ...entry, result: legacy.failed ? "legacyFailed" : "flowFailed", patch: [], paths: [] })
      return
    }
    const comparing = legacy.failed
      ? errors(legacy.error, flow.failed ? flow.error : undefined)
      : values(legacy.value, flow.failed ? undefined : flow.value)
    const compared = yield* Effect.exit(Effect.timeout(comparing, limit))
    if (Exit.isFailure(compared)) {
      recorder.skip("comparison", at)
      return
    }
    const { patch, paths } = compared.value ?? { patch: [], paths: [] }
    recorder.add({ ...entry, result: compared.value === undefined ? "match" : "mismatch", patch, paths })
  })

  const ended = Effect.sync(() => {
    if (--open === 0) Latch.openUnsafe(idle)
  })
  const left = Effect.sync(() => {
    active--
  })
  return {
    counts,
    idle,
    begin: (input, request, legacy, legacyMs, at) => {
      if (sample < 1 && random.nextDoubleUnsafe() >= sample) {
        counts.sampled++
        recorder.skip("sampled", at)
        return
      }
      const busy = () => {
        counts.busy++
        recorder.skip("busy", at)
      }
      if (open >= maxOpen) return busy()
      open++
      Latch.closeUnsafe(idle)
      fork(
        // The caller goes on first. Callers that answer at once all go on before the first shadow: they are counted when
        // they begin, so that it is not their hurry that is taken for too many at once.
        Effect.andThen(
          Effect.yieldNow,
          Effect.suspend(() => {
            if (active >= maxConcurrent) return Effect.sync(busy)
            counts.shadowed++
            active++
            return shadowOf(input, request, endOf(legacy), legacyMs, at).pipe(
              // Whatever is wrong with one comparison is that comparison's matter.
              Effect.catchCause(() => Effect.sync(() => recorder.skip("comparison", at))),
              Effect.ensuring(left)
            )
          })
        ).pipe(Effect.ensuring(ended))
      )
    }
  }
})

/** Shadows that wait for their turn, at most: what a burst may hold in memory. */
const maxOpen = 10_000

const schemaOf = (flow: RunnerOptions["flow"]): Schema.Schema<never> | undefined => {
  const output = outputOf(planOf(flow))
  return output === undefined ? undefined : Schema.make<Schema.Codec<never>>(output.ast)
}
