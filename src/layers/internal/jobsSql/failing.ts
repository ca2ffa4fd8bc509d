/** What a database's failure means to whoever asked: above all, whether anything was stored. */
import type * as SqlError from "effect/sql/SqlError"
import { isJobError, type JobError, unavailable } from "../../../JobError.ts"

/** What a statement failed with, as a queue says it. */
export const failed = (operation: string) => (error: SqlError.SqlError | JobError): JobError => {
  if (isJobError(error)) return error
  const before = error.reason._tag === "ConnectionError" && /connect|acquire/i.test(error.reason.operation ?? "")
  return unavailable(
    operation,
    error,
    before || writesNothing.has(error.reason._tag) ? "no" : "unknown",
    `The job queue's database fails at "${operation}": ${error.message}`
  )
}

// ----------------------------------------------------------------------------------------------------------- internals

/** Failures after which a statement has certainly changed nothing. */
const writesNothing = new Set<SqlError.SqlErrorReason["_tag"]>([
  "AuthenticationError",
  "AuthorizationError",
  "ConstraintError",
  "UniqueViolation",
  "DeadlockError",
  "SerializationError",
  "LockTimeoutError",
  "StatementTimeoutError",
  "SqlSyntaxError"
])
