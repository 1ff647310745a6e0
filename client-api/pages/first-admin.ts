import type Router from '@koa/router'
import type { Context } from 'koa'
import { koaBody } from 'koa-body'
import { z } from 'zod'
import type { Accounts } from '../../homeserver/accounts/accounts.ts'
import { MatrixError } from '../../spec/errors.ts'
import type { ServerName } from '../../spec/ids.ts'
import { type Html, html, page, pageHeaders, when } from './html.ts'

const path = '/_folkmoot/first-admin'

/** Path and query of the page that makes the first administrator; the token is good once. */
export function firstAdminPath(token: string): string {
  return `${path}?token=${encodeURIComponent(token)}`
}

/** Shortest password for somebody who can do everything. */
const passwordLengthMin = 10
const formBytesMax = 16_384
const tokenLengthMax = 255

const form = z.object({
  username: z.string().trim().min(1).max(255),
  password: z.string().max(1024),
  again: z.string().max(1024),
})

interface FirstAdminNeeds {
  readonly accounts: Pick<
    Accounts,
    'checkAdminInvite' | 'takeAdminInvite' | 'checkAvailable' | 'register'
  >
  readonly serverName: ServerName
  readonly baseUrlOf: (ctx: Context) => string
}

/** The page behind the link that the first start prints. */
export function mountFirstAdmin(router: Router, needs: FirstAdminNeeds): void {
  const { accounts } = needs
  const readForm = koaBody({
    json: false,
    text: false,
    formLimit: formBytesMax,
    onError: (_error, ctx) => ctx.throw(400),
  })

  router.get(path, async (ctx) => {
    const token = tokenOf(ctx)
    if (await accounts.checkAdminInvite(token)) show(ctx, 200, formPage(needs.serverName))
    else show(ctx, 410, gonePage())
  })
  router.post(path, readForm, async (ctx) => {
    const token = tokenOf(ctx)
    if (!(await accounts.checkAdminInvite(token))) return show(ctx, 410, gonePage())
    const input = form.safeParse(ctx.request.body)
    const username = input.data?.username.toLowerCase() ?? ''
    const problem = await problemOf(input.data)
    if (problem !== undefined) {
      return show(ctx, 422, formPage(needs.serverName, { username, problem }))
    }
    if (!(await accounts.takeAdminInvite(token))) return show(ctx, 410, gonePage())
    const { password = '' } = input.data ?? {}
    const user = await accounts.register({ localpart: username, password, admin: true })
    show(ctx, 201, donePage(user, needs.baseUrlOf(ctx)))
  })

  /** What has to be put right before the link is used up. */
  async function problemOf(input: z.output<typeof form> | undefined): Promise<string | undefined> {
    if (input === undefined) return 'Please fill in every field.'
    if (input.password !== input.again) return 'The two passwords are not the same.'
    if (input.password.length < passwordLengthMin) {
      return `The password needs at least ${passwordLengthMin} characters.`
    }
    try {
      await accounts.checkAvailable(input.username.toLowerCase())
      return undefined
    } catch (error) {
      if (error instanceof MatrixError) return sentenceOf(error)
      throw error
    }
  }
}

function tokenOf({ query }: Context): string {
  const { token } = query
  return typeof token === 'string' && token.length <= tokenLengthMax ? token : ''
}

function show(ctx: Context, status: number, content: Html): void {
  ctx.set(pageHeaders)
  ctx.status = status
  ctx.type = 'text/html'
  ctx.body = content.html
}

function sentenceOf(error: MatrixError): string {
  switch (error.errcode) {
    case 'M_USER_IN_USE':
      return 'This name is taken. Please choose another.'
    case 'M_INVALID_USERNAME':
      return 'A name can have the letters a to z, digits, and . _ = - / +, and not digits alone.'
    default:
      return 'This name cannot be used. Please choose another.'
  }
}

function formPage(server: ServerName, entered?: { username: string; problem: string }): Html {
  return page(
    'Make the first account',
    html`<h1>Welcome to ${server}</h1>
<p>Make the account that looks after this server. It can do everything here, so give it a good password.</p>
${when(entered?.problem, (problem) => html`<p class="error" role="alert">${problem}</p>`)}
<form method="post">
<label for="username">Name</label>
<input id="username" name="username" value="${entered?.username ?? ''}" required maxlength="200" autocomplete="username" autocapitalize="none" spellcheck="false" aria-describedby="name-hint" autofocus>
<p class="hint" id="name-hint">You will be <code>@name:${server}</code>.</p>
<label for="password">Password</label>
<input id="password" name="password" type="password" required minlength="${String(passwordLengthMin)}" maxlength="1024" autocomplete="new-password" aria-describedby="password-hint">
<p class="hint" id="password-hint">At least ${String(passwordLengthMin)} characters.</p>
<label for="again">Password again</label>
<input id="again" name="again" type="password" required maxlength="1024" autocomplete="new-password">
<button>Make the account</button>
</form>`,
  )
}

function donePage(user: string, baseUrl: string): Html {
  return page(
    'The account is there',
    html`<h1>All set</h1>
<p>Your account is <code>${user}</code>.</p>
<p>Open a Matrix client, choose to sign in, and give it this address as the homeserver:</p>
<p><code>${baseUrl}</code></p>
<p class="soft">This link will not work again. Further accounts can be made with <code>npm run admin -- create-user</code>, or by opening registration in the settings.</p>`,
  )
}

function gonePage(): Html {
  return page(
    'This link is used up',
    html`<h1>This link is used up</h1>
<p>It works once, and only for a week. If you still need an administrator, make one on the server:</p>
<p><code>npm run admin -- create-user NAME --admin</code></p>`,
  )
}
