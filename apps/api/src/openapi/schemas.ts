import { z } from 'zod'
import { answers } from './answers.ts'
import { answerExamples, bodyExamples } from './examples.ts'
import { bodies, type DescribedSchema } from './requests.ts'

export type JsonSchema = z.core.JSONSchema.BaseSchema

/** Every named schema in words of JSON Schema: what /openapi.json has under `components.schemas`. */
export function namedSchemas(): Record<string, JsonSchema> {
  const examples: Readonly<Record<string, unknown>> = { ...bodyExamples, ...answerExamples }
  const schemas = Object.entries({ ...schemasOfBodies(), ...schemasOfAnswers() })
  return Object.fromEntries(
    schemas.map(([name, schema]) => [
      name,
      name in examples ? { ...schema, examples: [examples[name]] } : schema,
    ]),
  )
}

export function reference(name: string): { $ref: string } {
  return { $ref: `#/components/schemas/${name}` }
}

/** One schema, as a client is to meet it: what it may send, with a sentence for each member. */
export function toJsonSchema({ schema, members, itemsOf = {} }: DescribedSchema): JsonSchema {
  const json = z.toJSONSchema(schema, { io: 'input', override: tidy })
  const described = describeMembers(withoutNames(json), members)
  for (const [name, items] of Object.entries(itemsOf)) {
    const member = described.properties?.[name]
    if (typeof member === 'object') member.items = { oneOf: items.map(reference) }
  }
  return described
}

function schemasOfBodies(): Record<string, JsonSchema> {
  return Object.fromEntries(
    Object.entries(bodies).map(([name, described]) => [name, toJsonSchema(described)]),
  )
}

/** Answers refer to each other by name. They may get further members, so clients must bear some. */
function schemasOfAnswers(): Record<string, JsonSchema> {
  const registry = z.registry<{ id: string }>()
  for (const [name, schema] of Object.entries(answers)) registry.add(schema, { id: name })
  const { schemas } = z.toJSONSchema(registry, {
    io: 'output',
    uri: (name) => reference(name).$ref,
    override: (context) => {
      tidy(context)
      if (context.jsonSchema.additionalProperties === false) {
        delete context.jsonSchema.additionalProperties
      }
    },
  })
  return Object.fromEntries(
    Object.entries(schemas).map(([name, json]) => [name, withoutNames(json)]),
  )
}

/** Drops patterns that say what `format` or another type says in one word. */
function tidy({ jsonSchema }: { jsonSchema: JsonSchema }): void {
  if (jsonSchema.format === 'date-time' || jsonSchema.type === 'integer') delete jsonSchema.pattern
}

/** Inside a document a schema has its place for a name. */
function withoutNames(json: JsonSchema): JsonSchema {
  const { $schema: _dialect, $id: _name, ...rest } = json
  return rest
}

function describeMembers(json: JsonSchema, members: Readonly<Record<string, string>>): JsonSchema {
  if (json.properties === undefined) return json
  const properties = Object.entries(json.properties).map(([name, member]) => [
    name,
    typeof member === 'object' ? { ...member, description: members[name] } : member,
  ])
  return { ...json, properties: Object.fromEntries(properties) as typeof json.properties }
}
