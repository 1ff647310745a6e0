/** Administrators of the server under test, made with the secret that it shares with scripts. */
import { createHmac } from 'node:crypto'
import { z } from 'zod'
import { type Client, clientOf, password, unique } from './client.ts'
import { server } from './fixtures.ts'
import { send } from './http.ts'
import { sessionAnswer } from './shapes.ts'

const where = '/_synapse/admin/v1/register'
const nonceAnswer = z.looseObject({ nonce: z.string() })

/** Whether administrators can be made here. */
export const makesAdministrators = server.sharedSecret !== undefined

/** A new administrator. */
export async function administrator(): Promise<Client> {
  const { nonce } = nonceAnswer.parse(await send(server.clientUrl, 'GET', where))
  const username = unique('admin')
  const mac = createHmac('sha1', server.sharedSecret ?? '')
    .update([nonce, username, password, 'admin'].join('\0'))
    .digest('hex')
  const body = { nonce, username, password, admin: true, mac }
  const session = await send(server.clientUrl, 'POST', where, { body })
  return clientOf(server, sessionAnswer.parse(session))
}
