/** One field of a form, and those in it. */
import type { ComponentChildren, JSX } from "preact"
import {
  type Draft,
  initial,
  initialOptional,
  limitsOf,
  optionalOf,
  type Path,
  pathText,
  type Problem
} from "../form/draft.ts"
import type { Field, List, Reader, Schema, Struct, Union } from "../form/field.ts"

interface Props {
  readonly reader: Reader
  readonly schema: Schema
  readonly draft: Draft
  readonly change: (draft: Draft) => void
  readonly path: Path
  readonly label: string
  readonly required: boolean
  readonly problems: ReadonlyArray<Problem>
  /** What is around it has said its name already. */
  readonly bare?: boolean
}

/** No spaces: an id is named in lists of ids. */
export const idOf = (path: string): string => `in-${encodeURIComponent(path).replaceAll("%", "_")}`

export const FieldInput = (props: Props): JSX.Element | null => {
  const { change, draft, label, reader, required, schema } = props
  const field = reader.field(schema)
  if (draft.kind === "absent") {
    return (
      <Group {...props} field={field}>
        <button type="button" class="button plain small" onClick={() => change(initial(reader, schema))}>
          Add {label}
        </button>
      </Group>
    )
  }
  switch (field.kind) {
    case "object":
      return (
        <Group {...props} field={field}>
          {draft.kind === "object" ? <Properties {...props} field={field} draft={draft} /> : ""}
          {required ? "" : <Remove label={label} remove={() => change({ kind: "absent" })} />}
        </Group>
      )
    case "list":
      return (
        <Group {...props} field={field}>
          {draft.kind === "list" ? <Items {...props} field={field} draft={draft} /> : ""}
          {required ? "" : <Remove label={label} remove={() => change({ kind: "absent" })} />}
        </Group>
      )
    case "union":
      return (
        <Group {...props} field={field}>
          {draft.kind === "union" ? <OneOf {...props} field={field} draft={draft} /> : ""}
          {required ? "" : <Remove label={label} remove={() => change({ kind: "absent" })} />}
        </Group>
      )
    default:
      // What is the same in every input is not asked for.
      return field.kind === "choice" && field.options.length === 1 && required
        ? null
        : <Leaf {...props} field={field} />
  }
}

const problemAt = ({ path, problems }: Props): Problem | undefined => {
  const text = pathText(path)
  return problems.find((problem) => problem.path === text)
}

const Hint = (
  { field, id, problem }: { readonly field: Field; readonly id: string; readonly problem: Problem | undefined }
) => (
  <>
    {field.description === undefined ? "" : <span id={`${id}-hint`} class="hint">{field.description}</span>}
    {problem === undefined ? "" : <span id={`${id}-problem`} class="hint tone-bad">{problem.message}</span>}
  </>
)

const Group = (props: Props & { readonly field: Field; readonly children: ComponentChildren }): JSX.Element => {
  const { children, field, label, path, required } = props
  const id = idOf(pathText(path))
  const problem = problemAt(props)
  if (props.bare === true) return <>{children}</>
  return (
    <fieldset
      id={id}
      tabIndex={-1}
      class={path.length === 0 ? "outermost" : ""}
      aria-describedby={problem ? `${id}-problem` : undefined}
    >
      <legend class={path.length === 0 ? "unseen" : ""}>
        {field.title ?? label}
        {required || path.length === 0 ? "" : <span class="dim aside">optional</span>}
      </legend>
      <Hint field={field} id={id} problem={problem} />
      {children}
    </fieldset>
  )
}

const Leaf = (props: Props & { readonly field: Field }): JSX.Element => {
  const { change, draft, field, label, path, required } = props
  const id = idOf(pathText(path))
  const problem = problemAt(props)
  const described = [
    ...(field.description === undefined ? [] : [`${id}-hint`]),
    ...(problem === undefined ? [] : [`${id}-problem`])
  ].join(" ")
  const common = {
    id,
    "aria-describedby": described === "" ? undefined : described,
    "aria-invalid": problem !== undefined,
    "aria-required": required
  } as const
  const text = draft.kind === "text" ? draft.text : ""
  const put = (text: string) => change({ kind: "text", text })
  return (
    <div class={`field ${field.kind}`}>
      <label for={id}>
        {field.title ?? label}
        {required ? "" : <span class="dim aside">optional</span>}
      </label>
      {field.kind === "flag"
        ? (
          <input
            type="checkbox"
            {...common}
            checked={draft.kind === "flag" && draft.on}
            onChange={(event) => change({ kind: "flag", on: event.currentTarget.checked })}
          />
        )
        : field.kind === "choice"
        ? (
          <select
            {...common}
            value={draft.kind === "choice" ? String(draft.at) : "-1"}
            onChange={(event) => change({ kind: "choice", at: Number(event.currentTarget.value) })}
          >
            <option value="-1">{required ? "choose…" : "left out"}</option>
            {field.options.map((option, at) => (
              <option key={at} value={String(at)}>
                {typeof option === "string" ? option : JSON.stringify(option)}
              </option>
            ))}
          </select>
        )
        : field.kind === "number"
        ? (
          <input
            type="text"
            inputMode={field.integer ? "numeric" : "decimal"}
            autocomplete="off"
            {...common}
            placeholder={limitsOf(field)}
            value={text}
            onInput={(event) => put(event.currentTarget.value)}
          />
        )
        : (
          <textarea
            rows={field.kind === "json" ? 4 : 1}
            class={field.kind === "json" ? "code" : ""}
            spellcheck={false}
            {...common}
            placeholder={field.kind === "json" ? "JSON" : field.kind === "text" ? field.format ?? "" : ""}
            value={text}
            onInput={(event) => put(event.currentTarget.value)}
          />
        )}
      <Hint field={field} id={id} problem={problem} />
    </div>
  )
}

const Remove = ({ label, remove }: { readonly label: string; readonly remove: () => void }): JSX.Element => (
  <button type="button" class="button plain small" onClick={remove} aria-label={`Remove ${label}`}>Remove</button>
)

type DraftOf<K extends Draft["kind"]> = Extract<Draft, { readonly kind: K }>

const Properties = (props: Props & { readonly field: Struct; readonly draft: DraftOf<"object"> }): JSX.Element => {
  const { change, draft, field, path, problems, reader } = props
  const { rest } = field
  const putRest = (entries: typeof draft.rest) => change({ ...draft, rest: entries })
  return (
    <>
      {field.properties.map(({ name, required, schema }) => {
        const shown = required ? schema : optionalOf(reader, schema)
        return (
          <FieldInput
            key={name}
            reader={reader}
            schema={shown}
            draft={draft.of.get(name) ?? initialOptional(reader, schema)}
            change={(inner) => change({ ...draft, of: new Map(draft.of).set(name, inner) })}
            path={[...path, name]}
            label={name}
            required={required}
            problems={problems}
          />
        )
      })}
      {draft.rest.map(({ key, value }, at) => (
        <div key={at} class="entry">
          <label class="field">
            Key
            <input
              type="text"
              value={key}
              onInput={(event) => putRest(draft.rest.with(at, { key: event.currentTarget.value, value }))}
            />
          </label>
          <FieldInput
            reader={reader}
            schema={rest!}
            draft={value}
            change={(inner) => putRest(draft.rest.with(at, { key, value: inner }))}
            path={[...path, key]}
            label={key === "" ? "Value" : key}
            required
            problems={problems}
          />
          <Remove label={`entry ${at + 1}`} remove={() => putRest(draft.rest.toSpliced(at, 1))} />
        </div>
      ))}
      {rest === undefined ? "" : (
        <button
          type="button"
          class="button plain small"
          onClick={() => putRest([...draft.rest, { key: "", value: initial(reader, rest) }])}
        >
          Add an entry
        </button>
      )}
    </>
  )
}

const Items = (props: Props & { readonly field: List; readonly draft: DraftOf<"list"> }): JSX.Element => {
  const { change, draft, field, label, path, problems, reader } = props
  const put = (items: ReadonlyArray<Draft>) => change({ kind: "list", items })
  return (
    <>
      {draft.items.map((item, at) => (
        <div key={at} class="entry">
          <FieldInput
            reader={reader}
            schema={field.fixed[at] ?? field.item!}
            draft={item}
            change={(inner) => put(draft.items.with(at, inner))}
            path={[...path, at]}
            label={`${label} ${at + 1}`}
            required
            problems={problems}
          />
          {at < field.min
            ? ""
            : <Remove label={`${label} ${at + 1}`} remove={() => put(draft.items.toSpliced(at, 1))} />}
        </div>
      ))}
      {field.item === undefined || draft.items.length >= field.max ? "" : (
        <button
          type="button"
          class="button plain small"
          onClick={() => put([...draft.items, initial(reader, field.item!)])}
        >
          Add to {label}
        </button>
      )}
    </>
  )
}

const OneOf = (props: Props & { readonly field: Union; readonly draft: DraftOf<"union"> }): JSX.Element => {
  const { change, draft, field, label, path, reader } = props
  const id = `${idOf(pathText(path))}-kind`
  const chosen = field.options[draft.at]!
  return (
    <>
      <div class="field choice">
        <label for={id}>Kind</label>
        <select
          id={id}
          aria-label={`Kind of ${label}`}
          value={String(draft.at)}
          onChange={(event) => {
            const at = Number(event.currentTarget.value)
            change({ kind: "union", at, of: initial(reader, field.options[at]!.schema) })
          }}
        >
          {field.options.map(({ title }, at) => <option key={at} value={String(at)}>{title}</option>)}
        </select>
      </div>
      <FieldInput
        {...props}
        key={draft.at}
        schema={chosen.schema}
        draft={draft.of}
        change={(of) => change({ ...draft, of })}
        label={chosen.title}
        required
        bare
      />
    </>
  )
}
