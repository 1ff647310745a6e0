import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { openApi } from '../openapi.ts'
import { requestPasswordMail } from './client/addresses.ts'
import { slidingSync, slidingSyncUnstable } from './client/sliding-sync.ts'
import { clientEndpoints } from './index.ts'

const parameter = /\{(\w+)\}/g

describe('the declarations of the client-server API', () => {
  it('have a name and a place of their own each', () => {
    const names = clientEndpoints.map(({ name }) => name)
    expect(new Set(names).size).toBe(names.length)
    const places = clientEndpoints.flatMap(({ method, paths }) =>
      paths.map((path) => `${method} ${path.replaceAll(parameter, '{}')}`),
    )
    expect(new Set(places).size).toBe(places.length)
  })

  it('have a schema for every parameter of their paths', () => {
    for (const endpoint of clientEndpoints) {
      const { properties = {} } = z.toJSONSchema(endpoint.params, {
        unrepresentable: 'any',
        io: 'input',
      })
      for (const path of endpoint.paths) {
        for (const [, name] of path.matchAll(parameter))
          expect(Object.keys(properties), path).toContain(name)
      }
    }
  })

  it('let no NUL through in what is stored as text', () => {
    for (const { body } of [slidingSync, slidingSyncUnstable]) {
      expect(body.safeParse({ conn_id: 'main' }).success).toBe(true)
      expect(body.safeParse({ conn_id: 'a\0b' }).success).toBe(false)
    }
    const mail = { email: 'a@b.org', client_secret: 's', send_attempt: 1 }
    const asked = requestPasswordMail.body.parse({ ...mail, next_link: 'https://c.org/a\0b' })
    expect(asked.next_link).toBe('https://c.org/a%00b')
  })

  it('make an OpenAPI document', () => {
    const document = openApi(clientEndpoints, { title: 'Folkmoot', version: '1' })
    expect(document).toMatchObject({
      openapi: '3.1.0',
      paths: {
        '/_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}': {
          put: {
            operationId: 'sendMessage',
            externalDocs: {
              url: 'https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidsendeventtypetxnid',
            },
            security: [{ accessToken: [] }],
            parameters: expect.arrayContaining([
              expect.objectContaining({ name: 'roomId', in: 'path', required: true }),
              expect.objectContaining({ name: 'txnId', in: 'path', required: true }),
              expect.objectContaining({ name: 'ts', in: 'query', required: false }),
            ]),
          },
        },
      },
    })
    expect(JSON.parse(JSON.stringify(document))).toEqual(document)
  })
})
