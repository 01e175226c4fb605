/** Whether an amount may be added up with others without rounding. */
export function isWhole(amount: number): boolean {
  return Number.isSafeInteger(amount);
}

/**
 * A decimal number minus an integer. DynamoDB counts in decimals: in doubles, 100.1 − 1 would not be what it counted.
 *
 * @param text as DynamoDB writes a number
 */
export function minus(text: string, integer: bigint): number {
  const [, sign, digits, fraction = ""] = /^(-?)(\d+)(?:\.(\d+))?$/.exec(text) ?? [];
  if (digits === undefined) return Number(text) - Number(integer);
  const scaled = BigInt(`${sign}${digits}${fraction}`) - integer * 10n ** BigInt(fraction.length);
  return Number(`${scaled}e-${fraction.length}`);
}
