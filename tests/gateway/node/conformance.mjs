// SPDX-License-Identifier: Apache-2.0
// The official Node.js clients run jobs: BASE JOBS OUTCOMES KEY. Jobs and outcomes are those of
// support/clients.py; streams go through the clients' own helpers, which judge their order.
import fs from 'node:fs';
import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';

const [base, jobsPath, outcomesPath, apiKey] = process.argv.slice(2);
const settings = { apiKey, maxRetries: 0, timeout: 60000 };
const openai = new OpenAI({ ...settings, baseURL: `${base}/v1` });
const anthropic = new Anthropic({ ...settings, baseURL: base });
const jobs = JSON.parse(fs.readFileSync(jobsPath, 'utf8'));
const outcomes = [];

const calls = {
  chat: (p, o) => openai.chat.completions.create(p, o),
  completions: (p, o) => openai.completions.create(p, o),
  responses: (p, o) => openai.responses.create(p, o),
  embeddings: (p, o) => openai.embeddings.create(p, o),
  messages: (p, o) => anthropic.messages.create(p, o),
  count_tokens: (p, o) => anthropic.messages.countTokens(p, o),
};

async function streamed({ surface, params, options }, events) {
  if (surface === 'chat') {
    const stream = openai.chat.completions.stream(params, options);
    stream.on('chunk', (e) => events.push(structuredClone(e)));
    return stream.finalChatCompletion();
  }
  if (surface === 'messages') {
    const stream = anthropic.messages.stream(params, options);
    stream.on('streamEvent', (e) => events.push(structuredClone(e)));
    return stream.finalMessage();
  }
  if (surface === 'responses') {
    const stream = openai.responses.stream(params, options);
    stream.on('event', (e) => events.push(structuredClone(e)));
    return stream.finalResponse();
  }
  const stream = await calls[surface]({ ...params, stream: true }, options);
  for await (const event of stream) events.push(event);
  return null;
}

async function run(job) {
  // Python's way to send what its types do not name.
  const { extra_body: extra, extra_headers: headers, ...params } = job.params;
  job = { ...job, params: { ...params, ...extra }, options: { headers } };
  const outcome = { id: job.id, events: [], headers: {} };
  try {
    if (job.stream) {
      outcome.final = await streamed(job, outcome.events);
    } else {
      const { data, response } = await calls[job.surface](job.params, job.options).withResponse();
      outcome.final = data;
      outcome.headers = Object.fromEntries(response.headers);
    }
  } catch (error) {
    outcome.error = { class: error.constructor.name, status: error.status ?? null,
      type: error.type ?? null, code: error.code ?? null, message: error.message,
      body: error.error ?? null };
    if (!(error instanceof OpenAI.OpenAIError || error instanceof Anthropic.AnthropicError))
      outcome.error.stack = error.stack;
  }
  outcomes.push(outcome);
}

let next = 0;
await Promise.all(Array.from({ length: 16 }, async () => {
  while (next < jobs.length) await run(jobs[next++]);
}));
fs.writeFileSync(outcomesPath, JSON.stringify(outcomes));
