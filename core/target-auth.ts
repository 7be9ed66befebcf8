// How a target knows who dispatches to it, besides Millrace's own signature: secrets in headers, and platforms' identities.

/** Stands for a value that only dispatchers know: never declared, never stored. */
export interface SecretReference {
  readonly secret: string
}

/** What a platform in front of a function asks of its callers. */
export type TargetAuth =
  /** A Google-signed identity token as bearer (Cloud Run, Cloud Functions, IAP). */
  | {
      readonly type: 'oidc'
      /** The origin of the target's URL unless given. */
      readonly audience?: string
    }
  /** Signature Version 4 (Lambda function URLs and API Gateway with IAM). */
  | {
      readonly type: 'aws_sigv4'
      readonly region: string
      /** `lambda` unless given; `execute-api` for API Gateway. */
      readonly service?: string
    }

/**
 * A header's value that dispatchers look up by name when they send: `millrace maintain` in the environment, under
 * `MILLRACE_SECRET_<name>`.
 *
 * @example
 * target: { url, headers: { authorization: secret('RECEIPTS_TOKEN') } }
 */
export const secret = (name: string): SecretReference => ({ secret: name })
