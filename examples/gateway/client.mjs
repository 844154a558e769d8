// SPDX-License-Identifier: Apache-2.0
// The official OpenAI client for Node.js, unchanged, against a metallm gateway.
import OpenAI from 'openai';

const client = new OpenAI({
  baseURL: (process.env.METALLM_URL ?? 'http://127.0.0.1:8080') + '/v1',
  apiKey: process.env.METALLM_KEY ?? 'unused',
});
const messages = [{ role: 'user', content: 'What is 17 * 23?' }];

// "auto" is the router's name in metallm.yaml: it picks the LLM. The headers tell which, and why.
const { data, response } = await client.chat.completions
  .create({ model: 'auto', messages }).withResponse();
console.log(`${response.headers.get('x-metallm-model')}: ${data.choices[0].message.content}`);

// Feedback teaches the router: a score from 0 to 1, now or days later.
const decision = response.headers.get('x-metallm-decision');
await client.post('/feedback', { body: { decision, score: 1.0 } });

// This request has constraints of its own: fields that the client does not know pass through.
const stream = await client.chat.completions.create({
  model: 'auto', messages, stream: true, metallm: { target: 0.9 },
});
for await (const piece of stream) process.stdout.write(piece.choices[0]?.delta?.content ?? '');
console.log();
