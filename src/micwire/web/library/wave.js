/** How peaks become a picture: the thumbnail of a row, and the lanes of the player. */

/** @import { Peaks } from "./types.js" */

const PITCH = 3; // CSS pixels from line to line in a thumbnail
const SHAPE_FRAMES = 32; // below so many frames a column the curve itself is seen

/**
 * @param {CanvasRenderingContext2D} context
 * @param {number} width @param {number} height @param {string} colour
 * @param {number[]} columns 0 to 1
 */
export function thumbnail(context, width, height, colour, columns) {
  const middle = height / 2, count = Math.floor(width / PITCH);
  context.lineWidth = 2;
  context.lineCap = "round";
  context.strokeStyle = colour;
  context.beginPath();
  for (let place = 0; place < count; place++) {
    const first = Math.floor((place * columns.length) / count);
    const peak = Math.max(...columns.slice(first, Math.max(first + 1, Math.floor(((place + 1) * columns.length) / count))));
    const tall = Math.sqrt(peak) * (middle - 2) + 0.5;
    context.moveTo(place * PITCH + 1, middle - tall);
    context.lineTo(place * PITCH + 1, middle + tall);
  }
  context.stroke();
}

/**
 * Draw the part of a tile that is in the window.
 * @param {CanvasRenderingContext2D} context
 * @param {{top: number, height: number, width: number, first: number, each: number}} lane `each`: frames in a CSS pixel.
 * @param {string} colour
 * @param {Peaks} tile
 * @param {number[]} low @param {number[]} high Of one channel, -128 to 127.
 */
export function lane(context, { top, height, width, first, each }, colour, tile, low, high) {
  const column = tile.frames / tile.columns, middle = top + height / 2, half = height / 2 - 1;
  // Speech is quiet: roots show it. A curve that is seen itself is shown as it is.
  const y = (/** @type {number} */ value) => middle - half * (each < SHAPE_FRAMES ? value / 128 : Math.sign(value) * Math.sqrt(Math.abs(value) / 128));
  const from = Math.max(0, Math.floor((first - tile.first_frame) / column));
  const to = Math.min(tile.columns, Math.ceil((first + width * each - tile.first_frame) / column));
  context.fillStyle = context.strokeStyle = colour;
  if (column <= 1 && each < 1) {
    context.lineWidth = 1.5;
    context.lineJoin = "round";
    context.beginPath();
    for (let n = from; n < to; n++) context.lineTo((tile.first_frame + (n + 0.5) * column - first) / each, y(high[n]));
    context.stroke();
    return;
  }
  for (let n = from; n < to; n++) {
    const left = (tile.first_frame + n * column - first) / each;
    const upper = y(high[n]), lower = y(low[n]);
    context.fillRect(left, upper - 0.5, Math.max(column / each, 1), lower - upper + 1);
  }
}
