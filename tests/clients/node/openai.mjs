// The OpenAI SDK for JavaScript: one client object, whoever asks.

import { readFileSync } from 'node:fs'
import OpenAI from 'openai'
import { VERSION } from 'openai/version'

const plan = JSON.parse(readFileSync(0, 'utf8'))
const tell = (line) => console.log(JSON.stringify(line))
tell({ client: 'openai', version: VERSION })

const client = new OpenAI({ baseURL: `${plan.url}/v1`, apiKey: 'set for each turn', defaultHeaders: plan.headers })

for (const turn of plan.turns) {
  const { data, response } = await client
    .withOptions({ apiKey: turn.token })
    .chat.completions.create({
      model: 'm',
      messages: [{ role: 'user', content: turn.text }],
      stream: plan.stream,
    })
    .withResponse()
  let text = ''
  if (plan.stream) for await (const piece of data) text += piece.choices[0]?.delta.content ?? ''
  else text = data.choices[0].message.content
  tell({
    text,
    receipt: response.headers.get('Backstory-Memory'),
    conversation: response.headers.get('Backstory-Conversation'),
  })
}
