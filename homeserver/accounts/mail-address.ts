import { invalidParam } from '../../spec/errors.ts'

const charsMax = 320
/**
 * What can be delivered to: one @, nothing that would end a header, a domain of labels. A label is looked at by itself:
 * an expression for a whole domain would try in how many ways it can be parted.
 */
const parts = /^[^\s@<>()[\],;:\\"\p{C}]{1,64}@([^@]{1,253})$/u
const label = /^[\p{L}\p{N}](?:[\p{L}\p{N}-]{0,61}[\p{L}\p{N}])?$/u

/**
 * An address as it is compared: without regard to case.
 * {@link https://spec.matrix.org/v1.19/appendices/#3pid-types}
 * @throws MatrixError M_INVALID_PARAM
 */
export function cleanAddress(email: string): string {
  const address = email.trim().toLowerCase().normalize('NFC')
  if (!isAddress(address)) throw invalidParam('email', 'not a mail address')
  return address
}

function isAddress(text: string): boolean {
  const domain = text.length <= charsMax ? parts.exec(text)?.[1] : undefined
  return domain?.replace(/\.$/, '').split('.').every(isLabel) ?? false
}

function isLabel(text: string): boolean {
  return label.test(text)
}
