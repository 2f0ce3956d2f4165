// Requests to the server, and the messages of header and binary blocks that both sides speak (views.py: pack).

export class RequestError extends Error {
  constructor(status, content) {
    super(content.error ?? `error ${status}`);
    this.status = status;
    this.content = content;
  }
}

const WRITING = { "X-Nnunet-Weak": "1" };
const caseUrl = (name, rest) => `/api/cases/${encodeURIComponent(name)}${rest}`;

async function request(url, options = {}) {
  const response = await fetch(url, options);
  if (!response.ok) throw new RequestError(response.status, await response.json().catch(() => ({})));
  return response;
}

const getJson = async (url) => (await request(url)).json();
const getMessage = async (url, options) => unpack(await (await request(url, options)).arrayBuffer());
const postJson = (url, content, options = {}) => request(url, {
  method: "POST", body: JSON.stringify(content), headers: { ...WRITING, "Content-Type": "application/json" }, ...options });

export const api = {
  study: () => getJson("/api/study"),
  queue: () => getJson("/api/queue"),
  case: (name) => getJson(caseUrl(name, "")),
  view: (name, wanted, channel) => getMessage(caseUrl(name, `/view/${wanted}?channel=${channel}`)),
  surface: (name, label) => getMessage(caseUrl(name, `/surface/${label}`)),
  drawing: async (name, wanted) => gunzip(await (await request(caseUrl(name, `/drawing/${wanted}`))).arrayBuffer()),
  suggestion: async (name, wanted, content) => {
    const response = await postJson(caseUrl(name, `/suggestion/${wanted}`), content);
    const { header, blocks } = unpack(await response.arrayBuffer());
    if (header.failed) throw new Error(header.failed);
    return blocks[0].slice();
  },
  fit: async (points, signal) => {
    const response = await postJson("/api/fit", { points_ras_mm: points }, { signal });
    const { header, blocks } = unpack(await response.arrayBuffer());
    return header.failed ? header : { ...header, ...meshOf(blocks) };
  },
  save: async (name, revision, header, blocks) => (await request(caseUrl(name, "/state"), {
    method: "PUT",
    body: pack(header, blocks),
    headers: { ...WRITING, "Content-Type": "application/octet-stream", "If-Match": `"${revision}"` },
  })).json(),
  keepCopy: async (name, content) => (await postJson(caseUrl(name, "/copy"), content)).json(),
  agreement: () => getJson("/api/agreement"),
  exportCommand: () => getJson("/api/export"),
  dryRun: async () => (await postJson("/api/dry-run", {})).json(),
};

export function meshOf(blocks) {
  return {
    vertices: new Float32Array(blocks[0].slice().buffer),
    faces: new Uint32Array(blocks[1].slice().buffer),
  };
}

export function pack(header, blocks) {
  const text = new TextEncoder().encode(JSON.stringify({ ...header, blocks: blocks.map((block) => block.byteLength) }));
  const length = new Uint8Array(new Uint32Array([text.byteLength]).buffer);
  return new Blob([length, text, ...blocks]);
}

export function unpack(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  let start = 4 + length;
  const blocks = header.blocks.map((size) => {
    const block = new Uint8Array(buffer, start, size);
    start += size;
    return block;
  });
  return { header, blocks };
}

const through = async (data, stream) => new Uint8Array(await new Response(new Blob([data]).stream().pipeThrough(stream)).arrayBuffer());
export const gzip = (data) => through(data, new CompressionStream("gzip"));
export const gunzip = (data) => through(data, new DecompressionStream("gzip"));
