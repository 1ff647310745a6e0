import { createHash } from 'node:crypto'

/** HTML that is safe to send: what is put into it has been escaped. */
export interface Html {
  readonly html: string
}

/** Makes HTML; values that are not HTML themselves are escaped. */
export function html(parts: TemplateStringsArray, ...values: readonly (string | Html)[]): Html {
  const shown = values.map((value) => (typeof value === 'string' ? escaped(value) : value.html))
  return { html: String.raw({ raw: parts }, ...shown) }
}

const nothing: Html = { html: '' }

/** The HTML when there is a value to show. */
export function when(value: string | undefined, show: (value: string) => Html): Html {
  return value === undefined ? nothing : show(value)
}

function escaped(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
}

/** One style for every page: readable on a phone, in light and dark, without anything from elsewhere. */
const style = `
:root { color-scheme: light dark; --ink: #1c1b22; --paper: #faf9f7; --card: #fff; --line: #d9d6d0;
  --accent: #3b5bdb; --on-accent: #fff; --bad: #b42318; --soft: #5e5b66 }
@media (prefers-color-scheme: dark) { :root { --ink: #ece9f1; --paper: #16151b; --card: #1f1e26; --line: #3a3844;
  --accent: #91a7ff; --on-accent: #11131f; --bad: #ff9d92; --soft: #a9a5b5 } }
* { box-sizing: border-box }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 1.5rem;
  background: var(--paper); color: var(--ink); font: 1.0625rem/1.5 system-ui, sans-serif }
main { width: min(27rem, 100%); background: var(--card); border: 1px solid var(--line); border-radius: 1rem;
  padding: clamp(1.25rem, 5vw, 2.25rem) }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .5rem; text-wrap: balance }
p { margin: 0 0 1.25rem } form + p { margin: 1.25rem 0 0 } .soft { color: var(--soft); font-size: .9375rem }
label { display: block; font-weight: 600; margin: 1.1rem 0 .3rem }
.hint { color: var(--soft); font-size: .875rem; margin: .3rem 0 0 }
input { width: 100%; font: inherit; color: inherit; background: var(--paper); padding: .65rem .8rem;
  border: 1px solid var(--line); border-radius: .6rem }
input:focus-visible, button:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px }
button { width: 100%; margin-top: 1.75rem; font: inherit; font-weight: 600; padding: .8rem; min-height: 3rem;
  border: 0; border-radius: .6rem; background: var(--accent); color: var(--on-accent); cursor: pointer }
.error { color: var(--bad); border-left: 4px solid var(--bad); padding: .1rem 0 .1rem .8rem; margin: 0 0 1rem }
code { overflow-wrap: anywhere; font-size: .95em; background: var(--paper); padding: .1rem .35rem; border-radius: .3rem }
`

/** A whole page. */
export function page(title: string, body: Html): Html {
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>${title}</title>
<style>${{ html: style }}</style>
</head>
<body><main>${body}</main></body>
</html>
`
}

const styleHash = createHash('sha256').update(style).digest('base64')

/** Nothing runs, nothing is loaded from anywhere, the page is in no frame, its address (with the token) stays here. */
export const pageHeaders: Readonly<Record<string, string>> = {
  'Content-Security-Policy': `default-src 'none'; style-src 'sha256-${styleHash}'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'`,
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
  'Cache-Control': 'no-store',
}
