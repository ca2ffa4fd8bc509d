/** What makes a client: a connection, a pool, or an object that holds one. */
import type { Module } from "../module.ts"
import { bare, type Node, pathOf } from "../syntax.ts"

/** Classes by the names that drivers and SDKs give them. */
const classes = new Set([
  "Pool",
  "PgPool",
  "Client",
  "OpenAI",
  "AzureOpenAI",
  "Anthropic",
  "Mistral",
  "CohereClient",
  "GoogleGenAI",
  "GoogleGenerativeAI",
  "Groq",
  "MongoClient",
  "PrismaClient",
  "Redis",
  "IORedis",
  "Cluster",
  "Valkey",
  "Kafka",
  "Sequelize",
  "DataSource",
  "DatabaseSync",
  "Database",
  "PGlite",
  "WebSocket",
  "Pinecone",
  "QdrantClient",
  "WeaviateClient",
  "Stripe",
  "Elasticsearch",
  "Agent"
])

/** Functions that do the same. */
const functions =
  /^(?:createClient|createPool|createConnection|createCluster|createPgPool|connect|connectAsync|createTransport|postgres|createDataSource|openDatabase)$/

/** Layers that hold one: building a layer in a node builds its client for each run. */
const layers = /^(?:layer|layerConfig|layerFromPool)$/
const holders = /(?:Client|Sqlite|Postgres|Redis|Sql|Pg|Database|Pool)$/

/** Whether a name comes from another package, or a module of Node. */
const isForeign = (module: Module, name: string): boolean => {
  const found = module.imports.get(name)
  return found !== undefined && !found.source.startsWith(".") && !/^(?:effect|penguiflow)(?:\/|$)/.test(found.source)
}

/** What kind of client an expression makes, in words; undefined where it makes none. */
export const clientOf = (module: Module, expression: Node): string | undefined => {
  const node = bare(expression)
  if (node.type === "AwaitExpression") return clientOf(module, node.argument)
  if (node.type === "YieldExpression") return node.argument === null ? undefined : clientOf(module, node.argument)
  if (node.type === "NewExpression") {
    const path = pathOf(node.callee)
    const name = path?.at(-1)
    if (path === undefined || name === undefined) return undefined
    const foreign = isForeign(module, path[0]!)
    const known = classes.has(name) &&
      (foreign || !module.imports.has(path[0]!) && module.tops.get(path[0]!)?.kind !== "class")
    return known || foreign && /(?:Client|Pool|Connection)$/.test(name) ? `new ${path.join(".")}` : undefined
  }
  if (node.type !== "CallExpression") return undefined
  const path = pathOf(node.callee)
  const name = path?.at(-1)
  if (path === undefined || name === undefined) return undefined
  if (path.length === 1) {
    const top = module.tops.get(name)
    return functions.test(name) && top === undefined && !module.imports.get(name)?.source.startsWith(".")
      ? `${name}()`
      : undefined
  }
  if (path.length !== 2) return undefined
  const [owner] = path
  if (functions.test(name) && isForeign(module, owner!)) return `${owner}.${name}()`
  return layers.test(name) && holders.test(owner!) && module.imports.has(owner!) ? `${owner}.${name}()` : undefined
}
