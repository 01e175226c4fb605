import { CounterError } from "../../counter/errors.ts";

/** What a failed request left behind: nothing (it was certainly not carried out), or nobody knows. */
export type Fate = "not-done" | "unknown";

const throttling = new Set([
  "ProvisionedThroughputExceededException",
  "ThrottlingException",
  "RequestLimitExceeded",
  "LimitExceededException",
]);

/** Failures before a byte of the request was sent. */
const notSent = new Set(["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "EHOSTUNREACH", "ENETUNREACH"]);

interface SdkError extends Error {
  readonly $metadata?: { readonly httpStatusCode?: number };
  readonly code?: string;
}

export function isThrottling(error: Error): boolean {
  return throttling.has(error.name);
}

/** Whether the condition of an update did not hold, so that nothing was written. */
export function isConditionFailure(error: Error): boolean {
  return error.name === "ConditionalCheckFailedException";
}

/** What is known of a request that failed: DynamoDB carries out nothing that it answers with 4xx. */
export function fateOf(error: SdkError): Fate {
  const status = error.$metadata?.httpStatusCode ?? 0;
  if (status >= 400 && status < 500) return "not-done";
  return isMisconfigured(error) || notSent.has(error.code ?? "") ? "not-done" : "unknown";
}

/** Whether asking again cannot help, since somebody has to change something. */
export function isMisconfigured(error: SdkError): boolean {
  return findRemedy(error) !== undefined;
}

/**
 * The error for the caller, which names the remedy where one is known.
 *
 * @param consumed whether the call may have taken numbers
 */
export function explain(
  error: SdkError,
  { table, consumed }: { table: string; consumed: boolean },
): CounterError {
  const options = { consumed, cause: error };
  const remedy = findRemedy(error, table);
  if (remedy !== undefined) return new CounterError("store-unavailable", remedy, options);
  if (isThrottling(error)) {
    return new CounterError(
      "store-unavailable",
      "expected DynamoDB to take the request, but it is throttled",
      options,
    );
  }
  return new CounterError("store-unavailable", "expected an answer of DynamoDB in time, got none", options);
}

function findRemedy(error: SdkError, table = ""): string | undefined {
  switch (error.name) {
    case "ResourceNotFoundException":
      return `expected the table "${table}", but there is none: set DYNAMODB_CREATE_TABLE=true, or check DYNAMODB_TABLE and AWS_REGION`;
    case "CredentialsProviderError":
      return "expected AWS credentials, but there are none: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE or a role (an engine of your own takes any)";
    case "AccessDeniedException":
      return `expected the right to use the table "${table}": grant dynamodb:GetItem and dynamodb:UpdateItem on it`;
    case "UnrecognizedClientException":
    case "InvalidSignatureException":
    case "ExpiredTokenException":
    case "MissingAuthenticationTokenException":
      return `expected valid AWS credentials, got ${error.name}: check keys, session token and clock`;
    case "ValidationException":
      return `expected the key and attributes of the table "${table}" to be as configured: check DYNAMODB_KEY_ATTRIBUTE (a string, the table's only key) and DYNAMODB_VALUE_ATTRIBUTE`;
  }
  if (/region is missing/i.test(error.message)) return "expected a region, but there is none: set AWS_REGION";
  return undefined;
}
