import { endpoint } from '../../endpoint.ts'
import { jsonObject } from '../fields.ts'
import { signed } from './declare.ts'

/** Served by policy servers only, which this server is not. {@link https://spec.matrix.org/v1.19/server-server-api/#policy-servers} */
export const policySign = endpoint({
  ...signed,
  name: 'policySign',
  method: 'POST',
  paths: ['/_matrix/policy/v1/sign'],
  body: jsonObject,
  errors: ['M_FORBIDDEN', 'M_NOT_FOUND', 'M_UNRECOGNIZED', 'M_LIMIT_EXCEEDED'],
  reply: jsonObject,
  spec: 'server-server-api/#post_matrixpolicyv1sign',
})
