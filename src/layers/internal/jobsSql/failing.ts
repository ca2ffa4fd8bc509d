/** What a database's failure means to whoever asked: above all, whether anything was stored. */
import type * as SqlError from "effect/sql/SqlError"
import { isJobError, type JobError, unavailable } from "../../../JobError.ts"

/** What a statement failed with, as a queue says it. */
export const failed = (operation: string) => (error: SqlError.SqlError | JobError): JobError => {
  if (isJobError(error)) return error
  const before = error.reason._tag === "ConnectionError" && /connect|acquire/i.test(error.reason.operation ?? "")
  const code = answered(error)
  return unavailable(
    operation,
    error,
    before || code !== undefined || writesNothing.has(error.reason._tag) ? "no" : "unknown",
    `The job queue's database fails at "${operation}": ${error.message}`,
    takesNever(error, code)
  )
}

/** Whether the database undid it for the sake of somebody else: at another time it may well succeed. */
export const undone = (error: SqlError.SqlError | JobError): error is SqlError.SqlError =>
  !isJobError(error) && (error.reason._tag === "DeadlockError" || error.reason._tag === "SerializationError")

// ----------------------------------------------------------------------------------------------------------- internals

/** The SQLSTATE of a server that has answered with an error, and undone the statement: not one that says good-bye. */
const answered = ({ reason: { cause } }: SqlError.SqlError): string | undefined => {
  if (!(cause instanceof Error) || !("code" in cause) || !("severity" in cause)) return undefined
  const { code, severity } = cause
  return severity === "ERROR" && typeof code === "string" && !/^(?:08|40003)/.test(code) ? code : undefined
}

/** Whether it is what was given, and not the state that the database is in. */
const takesNever = ({ reason: { _tag, cause } }: SqlError.SqlError, code: string | undefined): boolean => {
  // Data exceptions, broken constraints, and the server's own limits.
  if (code !== undefined) return /^(?:22|23|54)/.test(code)
  if (_tag !== "UnknownError" || typeof cause !== "object" || cause === null) return _tag === "ConstraintError"
  // A driver that objects by itself. SQLite's codes: too big, of another type.
  return "errcode" in cause ? cause.errcode === 18 || cause.errcode === 20 : !("severity" in cause)
}

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
