import { invalidParam } from '../../spec/errors.ts'

const charsMax = 320
/** What can be delivered to: one @, a domain with a dot or `localhost`, nothing that would end a header. */
const form = /^[^\s@<>()[\],;:\\"]{1,64}@(?:[\p{L}\p{N}](?:[\p{L}\p{N}-]{0,61}[\p{L}\p{N}])?\.?)+$/u

/**
 * An address as it is compared: without regard to case.
 * {@link https://spec.matrix.org/v1.19/appendices/#3pid-types}
 * @throws MatrixError M_INVALID_PARAM
 */
export function cleanAddress(email: string): string {
  const address = email.trim().toLowerCase().normalize('NFC')
  if (address.length > charsMax || !form.test(address)) {
    throw invalidParam('email', 'not a mail address')
  }
  return address
}
