// SPDX-License-Identifier: Apache-2.0
// The official Node.js client against a gateway at argv[2]; test_clients.py runs it.
import assert from 'node:assert/strict';
import OpenAI from 'openai';

const client = new OpenAI({ baseURL: process.argv[2], apiKey: 'unused', maxRetries: 0 });
const messages = [{ role: 'user', content: 'What is the capital of Austria?' }];
const tools = [{ type: 'function', function: { name: 'weather', parameters: { type: 'object' } } }];

// Retries: the LLM is asked by its name and is unwell at first.
const patient = new OpenAI({ baseURL: process.argv[2], apiKey: 'unused', maxRetries: 3 });
const late = await patient.chat.completions.create({ model: 'small', messages });
assert.equal(late.choices[0].message.content, 'Vienna.');

const plain = await client.chat.completions.create({ model: 'auto', messages }).withResponse();
assert.equal(plain.data.choices[0].message.content, 'Vienna.');
assert.match(plain.response.headers.get('x-metallm-decision'), /^dec_/);

let text = '';
for await (const piece of await client.chat.completions.create({
  model: 'auto', messages, stream: true, stream_options: { include_usage: true } })) {
  text += piece.choices[0]?.delta?.content ?? '';
  if (piece.usage) assert.equal(piece.usage.total_tokens, 12);
}
assert.equal(text, 'Vienna.');

const called = await client.chat.completions.create({ model: 'auto', messages, tools });
assert.equal(called.choices[0].message.tool_calls[0].function.name, 'weather');

await assert.rejects(client.chat.completions.create({ model: 'no-such-model', messages }),
  OpenAI.NotFoundError);
await assert.rejects(client.chat.completions.create({ model: 'auto', messages: 'no list' }),
  OpenAI.BadRequestError);

const many = await Promise.all(Array.from({ length: 20 }, () =>
  client.chat.completions.create({ model: 'auto', messages })));
assert.equal(many.filter((m) => m.choices[0].message.content === 'Vienna.').length, 20);

const ids = (await client.models.list()).data.map((m) => m.id);
assert.ok(ids.includes('auto') && ids.includes('big'));
console.log('all is well');
