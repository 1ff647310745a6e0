import type { ServerName, UserId } from '../../spec/ids.ts'
import type { Purpose } from './addresses.ts'

/** A mail as text and as HTML. */
export interface MailText {
  readonly subject: string
  readonly text: string
  readonly html: string
}

interface Words {
  readonly subject: string
  readonly sentences: readonly string[]
  /** Text of the link; without one there is nothing to confirm. */
  readonly button?: string
}

/** What stands in a mail; whether the address has an account is told here, to its owner, and nowhere else. */
export function mailText(
  server: ServerName,
  purpose: Purpose,
  owner: UserId | undefined,
  url: string,
): MailText {
  const { subject, sentences, button } = wordsFor(server, purpose, owner)
  const goodbye =
    'If it was not you who asked for this mail, you need not do anything. The link is good for an hour.'
  const lines = button === undefined ? sentences : [...sentences, `${button}: ${url}`, goodbye]
  const shown = sentences.map((sentence) => `<p>${escaped(sentence)}</p>`)
  const more =
    button === undefined
      ? []
      : [
          `<p><a href="${escaped(url)}" style="display:inline-block;padding:12px 20px;border-radius:8px;background:#3b5bdb;color:#ffffff;text-decoration:none;font-weight:600">${escaped(button)}</a></p>`,
          `<p style="color:#5e5b66;font-size:14px">${escaped(goodbye)}</p>`,
        ]
  return {
    subject,
    text: `${lines.join('\n\n')}\n`,
    html: `<!doctype html><html lang="en"><body style="font:16px/1.5 system-ui,sans-serif;color:#1c1b22;max-width:32rem;margin:0 auto;padding:24px">${[...shown, ...more].join('\n')}</body></html>`,
  }
}

function wordsFor(server: ServerName, purpose: Purpose, owner: UserId | undefined): Words {
  switch (purpose) {
    case 'register':
      return owner === undefined
        ? {
            subject: `Your address for ${server}`,
            sentences: [`Somebody is making an account at ${server} with this mail address.`],
            button: 'Confirm the address',
          }
        : {
            subject: `Your account at ${server}`,
            sentences: [
              `Somebody wanted to make an account at ${server} with this mail address.`,
              `It belongs to ${owner} already. If you have forgotten your password, choose a new one in your client.`,
            ],
          }
    case 'add':
      return owner === undefined
        ? {
            subject: `Your address for ${server}`,
            sentences: [`Somebody is adding this mail address to an account at ${server}.`],
            button: 'Confirm the address',
          }
        : {
            subject: `Your address at ${server}`,
            sentences: [
              `Somebody wanted to add this mail address to an account at ${server}.`,
              `It belongs to ${owner} already.`,
            ],
          }
    case 'password':
      return owner === undefined
        ? {
            subject: `Your password at ${server}`,
            sentences: [
              `Somebody asked for a new password at ${server} with this mail address.`,
              'No account there has this address.',
            ],
          }
        : {
            subject: `A new password for ${server}`,
            sentences: [`Somebody asked for a new password for ${owner}.`],
            button: 'Go on to the new password',
          }
    default:
      return purpose satisfies never
  }
}

function escaped(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
}
