/** What the server's answers hold, as far as the library page reads them. */

/**
 * @typedef {{encoding: string, sample_rate: number, channels: number}} Format
 * @typedef {{first_frame: number, frames: number, cause: string, exact: boolean}} Gap
 * @typedef {{frame: number, label: string}} Mark
 */

/**
 * A row of the list.
 * @typedef {{
 *   recording: string, title: string | null, status: string, started_at: string, duration_s: number, frames: number,
 *   format: Format, gaps: number, gap_frames: number, marks: number, clipped: number, verifiable: boolean | null,
 *   tags: string[], notes: string, owner: string, hold: boolean,
 * }} Summary
 */

/**
 * All that is known of one recording.
 * @typedef {{
 *   recording: string, title: string | null, status: string, started_at: string, frames: number, format: Format,
 *   gaps: Gap[], marks: Mark[], clipped: number, nonfinite: number, digest: string | null, verifiable: boolean | null,
 *   settings: Record<string, unknown> | null, device: unknown, take: string | null, part: number | null,
 *   tags: string[], notes: string, owner: string, hold: boolean,
 *   consent: {version: string, accepted_at: string} | null,
 * }} Detail
 */

/** @typedef {Partial<Pick<Detail, "title" | "tags" | "notes">>} Changes */

/** The lowest and highest of each column, -128 to 127; a row a channel. Behind `known_frames` they are not computed yet. @typedef {{first_frame: number, frames: number, known_frames: number, columns: number, channels: number, min: number[][], max: number[][]}} Peaks */

/** What a list is to show. @typedef {{q: string, tags: string[], status: string, sort: string}} Query */

/** @param {Detail} facts @returns {Summary} */
export function summary(facts) {
  const { gaps, marks } = facts;
  return {
    ...facts,
    duration_s: facts.frames / facts.format.sample_rate,
    gaps: gaps.length,
    gap_frames: gaps.reduce((sum, { frames }) => sum + frames, 0),
    marks: marks.length,
  };
}
