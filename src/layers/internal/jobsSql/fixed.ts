/** Statements that are made once, and sent again and again with other values: to make one costs more than to send it. */
import type * as SqlClient from "effect/sql/SqlClient"
import type * as Statement from "effect/sql/Statement"

type Value = string | number

/** `write` is given a place for each value, by name, and may use it several times. */
export const fixed = <Row extends object, Names extends string>(
  sql: SqlClient.SqlClient,
  write: (place: (name: Names) => string) => Statement.Fragment
): (values: { readonly [_ in Names]: Value }) => Statement.Statement<Row> => {
  // No text that is sent holds a NUL.
  const names = new Map<unknown, Names>()
  const [laidOut, places] = sql`${
    write((name) => {
      const place = `\0${name}`
      names.set(place, name)
      return place
    })
  }`.compile(true)
  // The driver looks it up by its whole text, each time.
  const text = laidOut.replaceAll(/\s+/g, " ")
  const parameters = places.map((place) => ({ place, name: names.get(place) }))
  return (values) =>
    sql.unsafe<Row>(text, parameters.map(({ name, place }) => name === undefined ? place : values[name]))
}
