import { z } from 'zod'
import type { Endpoint } from './endpoint.ts'
import { isObject, type Json, type JsonObject } from './json.ts'

/** Where the texts are that declarations link to. */
const specification = 'https://spec.matrix.org/v1.19/'

/**
 * An OpenAPI 3.1 document of these endpoints, from their declarations.
 * {@link https://spec.openapis.org/oas/v3.1.0}
 */
export function openApi(
  endpoints: readonly Endpoint[],
  info: { readonly title: string; readonly version: string },
): JsonObject {
  const paths: Record<string, Record<string, Json>> = {}
  for (const endpoint of endpoints) {
    for (const path of endpoint.paths) {
      const operations = paths[path] ?? {}
      operations[endpoint.method.toLowerCase()] = operation(endpoint, path)
      paths[path] = operations
    }
  }
  return { openapi: '3.1.0', info, paths, components: { securitySchemes } }
}

const securitySchemes: JsonObject = {
  accessToken: { type: 'http', scheme: 'bearer' },
  signedRequest: { type: 'apiKey', in: 'header', name: 'Authorization' },
}

function operation(endpoint: Endpoint, path: string): JsonObject {
  const first = path === endpoint.paths[0]
  return {
    operationId: first ? endpoint.name : `${endpoint.name}:${path}`,
    externalDocs: { url: linkOf(endpoint.spec) },
    security: securityOf(endpoint),
    parameters: [
      ...parameters(endpoint.params, 'path').filter(({ name }) => path.includes(`{${name}}`)),
      ...parameters(endpoint.query, 'query'),
    ],
    ...(endpoint.readsBody && {
      requestBody: { content: jsonContent(schemaOf(endpoint.body, 'input')) },
    }),
    responses: {
      200: { description: 'Done.', content: jsonContent(schemaOf(endpoint.reply, 'output')) },
      default: { description: errorsOf(endpoint.errors), content: jsonContent(standardError) },
    },
  }
}

const standardError: JsonObject = {
  type: 'object',
  required: ['errcode', 'error'],
  properties: { errcode: { type: 'string' }, error: { type: 'string' } },
}

function errorsOf(errors: readonly string[]): string {
  return errors.length === 0 ? 'An error.' : `An error; among them ${errors.join(', ')}.`
}

function securityOf({ auth }: Endpoint): Json {
  if (auth === 'none') return []
  if (auth === 'optional') return [{}, { accessToken: [] }]
  return auth === 'server' ? [{ signedRequest: [] }] : [{ accessToken: [] }]
}

function linkOf(spec: string): string {
  return spec.startsWith('https:') ? spec : `${specification}${spec}`
}

function jsonContent(schema: Json): JsonObject {
  return { 'application/json': { schema } }
}

/** A part that JSON Schema cannot say (a check by function) becomes the schema that allows anything. */
function schemaOf(schema: z.ZodType, io: 'input' | 'output'): JsonObject {
  const made: unknown = z.toJSONSchema(schema, { io, unrepresentable: 'any' })
  return isObject(made) ? made : {}
}

function parameters(schema: z.ZodType, place: 'path' | 'query'): (JsonObject & { name: string })[] {
  const { properties, required } = schemaOf(schema, 'input')
  if (!isObject(properties)) return []
  return Object.entries(properties).map(([name, type]) => ({
    name,
    in: place,
    required: place === 'path' || (Array.isArray(required) && required.includes(name)),
    schema: type,
  }))
}
