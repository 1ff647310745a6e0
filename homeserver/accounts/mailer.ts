/** Sends the mails by which people prove addresses. The library is loaded by the first one. */
import type { Transporter } from 'nodemailer'
import { MatrixError } from '../../spec/errors.ts'
import type { ServerName, UserId } from '../../spec/ids.ts'
import type { Logger } from '../platform/log.ts'
import type { Purpose } from './addresses.ts'
import { mailText } from './mail-text.ts'

/** What a mail is about. */
export interface MailSubject {
  readonly purpose: Purpose
  /** Whose address it is already. */
  readonly owner: UserId | undefined
  readonly link: { readonly sid: string; readonly clientSecret: string; readonly token: string }
}

export interface Mailer {
  /** Whether there is a mail server. */
  readonly enabled: boolean
  /** Resolves when the mail server has taken it. @throws MatrixError M_UNKNOWN (502), M_LIMIT_EXCEEDED */
  send(to: string, subject: MailSubject): Promise<void>
}

export interface MailSettings {
  /** `smtp://user:password@host:port` or `smtps://…`; empty: no mail is sent. */
  readonly smtpUrl: string
  readonly from: string
  /** Where the pages of this server are; what a request says of it is not believed in a mail. */
  readonly baseUrl: string
}

interface Needs {
  readonly serverName: ServerName
  readonly settings: MailSettings
  readonly log: Pick<Logger, 'warn'>
}

export const mailLimits = {
  connections: 2,
  /** Mails on their way; more are refused. */
  waiting: 100,
  connectMs: 10_000,
  silentMs: 20_000,
} as const

/** Path of the page behind the link of a mail. */
export const addressPagePath = '/_folkmoot/address'

export function createMailer({ serverName, settings, log }: Needs): Mailer {
  const { smtpUrl, from, baseUrl } = settings
  let transport: Promise<Transporter> | undefined
  let waiting = 0

  async function connect(): Promise<Transporter> {
    const { createTransport } = await import('nodemailer')
    return createTransport({
      url: smtpUrl,
      pool: true,
      maxConnections: mailLimits.connections,
      connectionTimeout: mailLimits.connectMs,
      greetingTimeout: mailLimits.connectMs,
      socketTimeout: mailLimits.silentMs,
      disableFileAccess: true,
      disableUrlAccess: true,
    })
  }

  return {
    enabled: smtpUrl !== '',
    async send(to, { purpose, owner, link }) {
      if (waiting >= mailLimits.waiting) throw tooMany()
      const query = new URLSearchParams({
        ...{ sid: link.sid, client_secret: link.clientSecret, token: link.token },
      })
      const url = `${baseUrl}${addressPagePath}?${query}`
      waiting++
      try {
        transport ??= connect()
        await (await transport).sendMail({ from, to, ...mailText(serverName, purpose, owner, url) })
      } catch (error) {
        log.warn({ error }, 'a mail could not be sent')
        throw new MatrixError('M_UNKNOWN', 'The mail could not be sent', { status: 502 })
      } finally {
        waiting--
      }
    },
  }
}

function tooMany(): MatrixError {
  const fields = { retry_after_ms: 5_000 }
  return new MatrixError('M_LIMIT_EXCEEDED', 'Too many mails are on their way', { fields })
}
