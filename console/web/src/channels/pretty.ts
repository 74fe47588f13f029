const lineWidth = 64;
const maxLength = 4000;

/** JSON for reading: objects in objects are indented, what is flat or fits on a line runs on. */
export function pretty(value: unknown): string {
  const text = layout(value, "");
  return text.length > maxLength ? `${text.slice(0, maxLength)}\n(${text.length - maxLength} more characters)` : text;
}

function layout(value: unknown, indent: string): string {
  const flat = inline(value);
  if (flat.length + indent.length <= lineWidth || typeof value !== "object" || value === null) return flat;
  if (Object.values(value).every(runsOn)) return flat;
  const deeper = `${indent}  `;
  if (Array.isArray(value)) {
    return `[\n${value.map((item) => deeper + layout(item, deeper)).join(",\n")}\n${indent}]`;
  }
  const fields = Object.entries(value).map(([key, item]) => `${deeper}${JSON.stringify(key)}: ${layout(item, deeper)}`);
  return `{\n${fields.join(",\n")}\n${indent}}`;
}

/** Whether a value needs no line of its own: it holds nothing, or only plain values. */
function runsOn(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return true;
  return Array.isArray(value) && value.every((item) => typeof item !== "object" || item === null);
}

function inline(value: unknown): string {
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "undefined";
  if (Array.isArray(value)) return `[${value.map(inline).join(", ")}]`;
  const fields = Object.entries(value).map(([key, item]) => `${JSON.stringify(key)}: ${inline(item)}`);
  return fields.length === 0 ? "{}" : `{ ${fields.join(", ")} }`;
}

/** A piece of JSON text and what it is. */
export interface Token {
  readonly kind: "key" | "string" | "number" | "word" | "plain";
  readonly text: string;
}

const pattern = /("(?:[^"\\]|\\.)*")(\s*:)?|(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)|\b(true|false|null)\b/g;

/** Splits JSON text for coloring. */
export function tokens(text: string): Token[] {
  const found: Token[] = [];
  let from = 0;
  for (const match of text.matchAll(pattern)) {
    if (match.index > from) found.push({ kind: "plain", text: text.slice(from, match.index) });
    const [whole, string, colon, number] = match;
    if (string !== undefined) {
      found.push({ kind: colon === undefined ? "string" : "key", text: string });
      if (colon !== undefined) found.push({ kind: "plain", text: colon });
    } else {
      found.push({ kind: number === undefined ? "word" : "number", text: whole });
    }
    from = match.index + whole.length;
  }
  if (from < text.length) found.push({ kind: "plain", text: text.slice(from) });
  return found;
}
