/** Whether two values of JSON say the same; the order of an object's members does not matter. */
export function isSameJson(one: unknown, other: unknown): boolean {
  if (one === other) return true;
  if (typeof one !== "object" || typeof other !== "object" || one === null || other === null) return false;
  if (Array.isArray(one) !== Array.isArray(other)) return false;
  const [mine, others] = [Object.entries(one), new Map(Object.entries(other))];
  return (
    mine.length === others.size &&
    mine.every(([name, value]) => others.has(name) && isSameJson(value, others.get(name)))
  );
}
