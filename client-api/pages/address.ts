import type Router from '@koa/router'
import type { Context } from 'koa'
import type { Addresses } from '../../homeserver/accounts/addresses.ts'
import { addressPagePath } from '../../homeserver/accounts/mailer.ts'
import { type Html, html, page, pageHeaders, when } from './html.ts'

const fieldCharsMax = 255

/**
 * The page behind the link of a mail. It asks for a click before the address counts as proved: programs that look
 * at mails follow links, too.
 */
export function mountAddress(
  router: Router,
  { addresses }: { readonly addresses: Pick<Addresses, 'submitToken'> },
): void {
  router.get(addressPagePath, (ctx) => show(ctx, 200, askPage()))
  router.post(addressPagePath, async (ctx) => {
    const [sid, clientSecret, token] = ['sid', 'client_secret', 'token'].map((name) =>
      fieldOf(ctx, name),
    )
    const proved =
      sid && clientSecret && token
        ? await addresses.submitToken({ sid, clientSecret }, token)
        : undefined
    if (proved === undefined) show(ctx, 410, gonePage())
    else show(ctx, 200, donePage(proved))
  })
}

function fieldOf({ query }: Context, name: string): string | undefined {
  const value = query[name]
  return typeof value === 'string' && value.length <= fieldCharsMax && !value.includes('\0')
    ? value
    : undefined
}

function show(ctx: Context, status: number, content: Html): void {
  ctx.set(pageHeaders)
  ctx.status = status
  ctx.type = 'text/html'
  ctx.body = content.html
}

function askPage(): Html {
  return page(
    'Confirm your address',
    html`<h1>Is this your address?</h1>
<p>You have opened a link that was sent to a mail address. Confirm that it is yours, if you asked for that mail.</p>
<form method="post"><button>Confirm the address</button></form>
<p class="soft">Otherwise close this page, and nothing happens.</p>`,
  )
}

function donePage({ address, nextLink }: { address: string; nextLink?: string }): Html {
  return page(
    'The address is confirmed',
    html`<h1>Thank you</h1>
<p><code>${address}</code> is confirmed. Go back to your client, which goes on from here.</p>
${when(nextLink, (link) => html`<p><a href="${link}" rel="noreferrer">Go on to ${new URL(link).host}</a></p>`)}`,
  )
}

function gonePage(): Html {
  return page(
    'This link does not work',
    html`<h1>This link does not work any more</h1>
<p>It is good for an hour, and only the newest one is. Ask your client for another.</p>`,
  )
}
