// Public entry `millrace/identity`: whom dispatches come from, as Google's and AWS's platforms want to know it.

export { type AwsCredentials, type AwsSignerOptions, awsSigner } from './aws-signer.ts'
export { type MetadataOptions, metadataTokens } from './metadata.ts'
export { type ServiceAccountOptions, serviceAccountTokens } from './service-account.ts'
