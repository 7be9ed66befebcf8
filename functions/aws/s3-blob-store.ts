// Payloads in S3, or anything that speaks its protocol, over fetch.

import { AwsClient } from 'aws4fetch'
import type { BlobStore } from '../../core/claim-check.ts'

export interface AwsCredentials {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken?: string | undefined
}

export interface S3BlobStoreOptions {
  /** The bucket's URL, such as `https://payloads.s3.eu-central-1.amazonaws.com` or `https://minio.internal:9000/payloads`. */
  readonly url: string
  /** Found in the URLs of AWS; `auto` for R2. */
  readonly region?: string | undefined
  /** Asked for each call, where they change. On Lambda: `AWS_ACCESS_KEY_ID` and so on of the environment. */
  readonly credentials: AwsCredentials | (() => AwsCredentials | Promise<AwsCredentials>)
  /** Of one call with its repetitions, in seconds: 30. */
  readonly timeoutSeconds?: number | undefined
}

/** 429 and 5xx are tried again, within about a second and a half. */
const RETRIES = 5

/**
 * A {@link BlobStore} in an S3 bucket. It needs `s3:GetObject` and `s3:PutObject` below the prefix, and `s3:ListBucket` if a
 * missing object is to be told from a forbidden one.
 */
export function s3BlobStore({ url, region, credentials, timeoutSeconds = 30 }: S3BlobStoreOptions): BlobStore {
  const call = async (method: string, key: string, body?: Uint8Array): Promise<Response> => {
    const given = typeof credentials === 'function' ? await credentials() : credentials
    const { accessKeyId, secretAccessKey, sessionToken } = given
    const client = new AwsClient({
      ...{ accessKeyId, secretAccessKey, service: 's3', retries: RETRIES },
      ...(sessionToken !== undefined && { sessionToken }),
      ...(region !== undefined && { region }),
    })
    // Signed with the body, so that nobody in between can put another one.
    const headers = { 'x-amz-content-sha256': await sha256(body ?? new Uint8Array()) }
    return client.fetch(`${url.replace(/\/+$/, '')}/${key}`, {
      ...{ method, headers, redirect: 'manual', signal: AbortSignal.timeout(timeoutSeconds * 1000) },
      ...(body !== undefined && { body: body as BodyInit }),
    })
  }
  return {
    async put(key, bytes) {
      await accepted(await call('PUT', key, bytes), 'PUT')
    },
    async get(key) {
      const response = await call('GET', key)
      if (response.status === 404) {
        await response.body?.cancel()
        return undefined
      }
      await accepted(response, 'GET')
      return new Uint8Array(await response.arrayBuffer())
    },
  }
}

/** Answers of S3 name the bucket and the key; the code says enough. */
async function accepted(response: Response, method: string): Promise<void> {
  if (response.status === 200) {
    if (method === 'PUT') await response.body?.cancel()
    return
  }
  const code = /<Code>(\w+)<\/Code>/.exec(await response.text().catch(() => ''))?.[1]
  throw new Error(`${method} was answered ${response.status}${code ? ` (${code})` : ''}`)
}

async function sha256(bytes: Uint8Array): Promise<string> {
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes as BufferSource))
  return Array.from(hash, byte => byte.toString(16).padStart(2, '0')).join('')
}
