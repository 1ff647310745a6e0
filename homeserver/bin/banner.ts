import { firstAdminPath } from '../../client-api/pages/first-admin.ts'
import type { Config } from '../config.ts'

/** What whoever started the server has to know now: where it listens and what to do next. */
export function banner(
  config: Config,
  serving: {
    readonly clientUrl: string
    readonly federationUrl?: string | undefined
    readonly firstAdminToken?: string | undefined
  },
  isNew: boolean,
): string {
  const clients = config.publicBaseUrl || forPeople(serving.clientUrl)
  const lines = [
    '',
    `Folkmoot serves ${config.serverName}`,
    `  clients:        ${clients}  (this is the homeserver address to enter in a client)`,
    serving.federationUrl === undefined
      ? '  other servers:  not served; set TLS_CERT_FILE and TLS_KEY_FILE'
      : `  other servers:  ${forPeople(serving.federationUrl)}`,
  ]
  if (config.serverName === 'localhost:8448') {
    lines.push(
      '',
      '  The server name is localhost:8448: good for a trial on this machine, not for talking to others.',
      '  The name is part of every user id and can never be changed. For a server that is to stay, set',
      '  SERVER_NAME=example.org and start on an empty DATA_DIR.',
    )
  }
  if (serving.firstAdminToken !== undefined) {
    const address = `${clients.replace(/\/$/, '')}${firstAdminPath(serving.firstAdminToken)}`
    lines.push(
      '',
      '  There is no administrator yet. Open this link once to make one:',
      `  ${address}`,
      '  or run: npm run admin -- create-user NAME --admin',
    )
  } else if (isNew) {
    lines.push('', '  Make the first account: npm run admin -- create-user NAME --admin')
  }
  if (config.registration === 'closed') {
    lines.push('', '  Registration is closed (REGISTRATION=open or token changes that).')
  }
  return `${lines.join('\n')}\n`
}

/** "Every address" is no address to type into a browser. */
function forPeople(url: string): string {
  return url.replace('//0.0.0.0:', '//localhost:').replace('//[::]:', '//localhost:')
}
