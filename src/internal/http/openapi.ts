/** The OpenAPI document: the interface as it is defined, with each flow's own paths in the place of `{flow}`. */
import * as OpenApi from "effect/http-api/OpenApi"
import type { JsonSchema } from "../schemas.ts"
import { type Api, api } from "./api.ts"
import type { Running } from "./running.ts"

type Json = Readonly<Record<string, unknown>>

/** The interface, documented for these flows. */
export const documented = (
  flows: ReadonlyArray<Pick<Running, "name" | "schemas">>,
  options: { readonly version: string | undefined; readonly secured: boolean }
): Api =>
  api().annotateMerge(OpenApi.annotations({
    title: "PenguiFlow",
    version: options.version ?? "0.0.0",
    transform: (spec) => expanded(spec, flows, options.secured)
  }))

// ----------------------------------------------------------------------------------------------------------- internals

const expanded = (
  spec: Json,
  flows: ReadonlyArray<Pick<Running, "name" | "schemas">>,
  secured: boolean
): Record<string, unknown> => {
  const components: Record<string, unknown> = {}
  const paths: Record<string, unknown> = {}
  for (const [path, item] of Object.entries(spec["paths"] as Json)) {
    if (!path.includes("{flow}")) paths[path] = isOpen(path) ? item : guarded(item as Json, secured)
    else {
      flows.forEach(({ name, schemas }, index) => {
        const into = (schema: JsonSchema | undefined) => moved(schema, `flow${index}.`, components)
        const own = path.replace("{flow}", encodeURIComponent(name))
        paths[own] = guarded(ofFlow(item as Json, path, name, into(schemas.input), into(schemas.result)), secured)
      })
    }
  }
  const { securitySchemes: _, ...known } = spec["components"] as Json
  return {
    ...spec,
    // What one comes for first.
    tags: [...flows.map(({ name }) => ({ name })), ...spec["tags"] as ReadonlyArray<Json>],
    paths,
    components: {
      ...known,
      schemas: { ...known["schemas"] as Json | undefined, ...components },
      ...(secured ? { securitySchemes: { bearer: { type: "http", scheme: "bearer" } } } : {})
    }
  }
}

const isOpen = (path: string): boolean => path === "/healthz" || path === "/readyz"

const guarded = (item: Json, secured: boolean): Json =>
  secured
    ? Object.fromEntries(
      Object.entries(item).map(([method, operation]) => [method, { ...operation as Json, security: [{ bearer: [] }] }])
    )
    : item

const ofFlow = (item: Json, path: string, name: string, input: unknown, result: unknown): Json =>
  Object.fromEntries(
    Object.entries(item).map(([method, given]) => {
      const operation = given as Json
      const parameters = operation["parameters"] as ReadonlyArray<Json> | undefined
      const body = operation["requestBody"] === undefined ? {} : {
        requestBody: { required: true, content: { "application/json": { schema: input } } }
      }
      const responses = path.endsWith("/run")
        ? {
          responses: {
            ...operation["responses"] as Json,
            200: {
              description: "The results",
              content: {
                "application/json": {
                  schema: {
                    type: "object",
                    required: ["traceId", "results"],
                    properties: { traceId: { type: "string" }, results: { type: "array", items: result } }
                  }
                }
              }
            }
          }
        }
        : {}
      return [method, {
        ...operation,
        ...body,
        ...responses,
        tags: [name],
        operationId: `${name}.${String(operation["operationId"]).split(".").at(-1)}`,
        parameters: parameters?.filter((it) => it["name"] !== "flow") ?? []
      }]
    })
  )

/** A schema whose definitions have moved among the document's components. */
const moved = (schema: JsonSchema | undefined, prefix: string, components: Record<string, unknown>): unknown => {
  if (schema === undefined) return {}
  const text = JSON.stringify(schema).replaceAll(`"$ref":"#/$defs/`, `"$ref":"#/components/schemas/${prefix}`)
  const { $defs, ...rest } = JSON.parse(text) as Json
  for (const [name, definition] of Object.entries($defs as Json | undefined ?? {})) {
    components[`${prefix}${name}`] = definition
  }
  return rest
}
