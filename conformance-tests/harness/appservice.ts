/** A scripted application service: it keeps what it is told and answers what it is asked, as a test wishes. */
import { writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage } from 'node:http'
import { z } from 'zod'
import type { Body } from './http.ts'
import { freePorts } from './ports.ts'
import { event } from './shapes.ts'

const transaction = z.looseObject({
  events: z.array(event),
  ephemeral: z
    .array(z.looseObject({ type: z.string(), room_id: z.string().optional() }))
    .default([]),
  'de.sorunome.msc2409.to_device': z.array(z.looseObject({ type: z.string() })).default([]),
})
export type Transaction = z.infer<typeof transaction> & { readonly txnId: string }

/** An answer to one request. */
export interface Said {
  readonly status: number
  readonly body?: Body | readonly Body[]
}

export interface Appservice extends AsyncDisposable {
  readonly asToken: string
  readonly hsToken: string
  /** Path of its registration. */
  readonly file: string
  /** Transactions that it has taken, in order, repeated ones too. */
  readonly taken: readonly Transaction[]
  /** Requests that came, as method and path. */
  readonly asked: readonly string[]
  /** Requests without the server's token. */
  readonly strangers: readonly string[]
  /** What it says to requests; a status of 200 unless a test says otherwise. */
  answer: (method: string, path: string) => Said | Promise<Said>
}

/** Starts one and writes its registration into a folder. */
export async function startAppservice(dir: string, registration: Body): Promise<Appservice> {
  const [port = 0] = await freePorts(1)
  const id = String(registration['id'])
  const [asToken, hsToken] = [`as-token-of-${id}`, `hs-token-of-${id}`]
  const taken: Transaction[] = []
  const asked: string[] = []
  const strangers: string[] = []
  const service: Pick<Appservice, 'answer'> = { answer: () => ({ status: 200 }) }

  const server = createServer((req, res) => {
    void respond(req).then(({ status, body = {} }) => {
      res.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
    })
  })

  async function respond(req: IncomingMessage): Promise<Said> {
    const path = decodeURIComponent(new URL(req.url ?? '', 'http://service').pathname)
    asked.push(`${req.method} ${path}`)
    if (req.headers.authorization !== `Bearer ${hsToken}`) strangers.push(path)
    const text = await textOf(req)
    const said = await service.answer(req.method ?? '', path)
    const prefix = '/_matrix/app/v1/transactions/'
    if (said.status === 200 && path.startsWith(prefix)) {
      const txnId = path.slice(prefix.length)
      taken.push({ ...transaction.parse(JSON.parse(text)), txnId })
    }
    return said
  }

  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  const file = `${dir}/${id}.yaml`
  // JSON is YAML.
  const whole = { url: `http://127.0.0.1:${port}`, as_token: asToken, hs_token: hsToken }
  writeFileSync(file, JSON.stringify({ ...whole, ...registration }))
  return Object.assign(service, {
    ...{ asToken, hsToken, file, taken, asked, strangers },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise<void>((resolve) => server.close(() => resolve()))
    },
  })
}

async function textOf(req: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of req) chunks.push(Buffer.from(chunk))
  return Buffer.concat(chunks).toString('utf8')
}
