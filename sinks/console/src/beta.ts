// The density of a Beta distribution, for the pictures of posteriors.

/** ln Γ(x) for x > 0, by Lanczos' approximation (g = 7, 9 terms). */
export function logGamma(x: number): number {
  const c = [
    0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059,
    12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7,
  ];
  if (x < 0.5) return Math.log(Math.PI / Math.sin(Math.PI * x)) - logGamma(1 - x);
  const t = x + 6.5;
  const sum = c.reduce((s, v, i) => (i === 0 ? v : s + v / (x - 1 + i)), 0);
  return 0.5 * Math.log(2 * Math.PI) + (x - 0.5) * Math.log(t) - t + Math.log(sum);
}

/** The density of Beta(alpha, beta) at x, 0 < x < 1. */
export function density(alpha: number, beta: number, x: number): number {
  const norm = logGamma(alpha + beta) - logGamma(alpha) - logGamma(beta);
  return Math.exp(norm + (alpha - 1) * Math.log(x) + (beta - 1) * Math.log1p(-x));
}

/** The mean of Beta(alpha, beta). */
export const mean = (alpha: number, beta: number) => alpha / (alpha + beta);

/** Densities at so many places spread over 0 to 1, without the ends. */
export function curve(alpha: number, beta: number, points: number): { x: number; y: number }[] {
  return Array.from({ length: points }, (_, i) => (i + 0.5) / points).map((x) => ({ x, y: density(alpha, beta, x) }));
}
