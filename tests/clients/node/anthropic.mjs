// The Anthropic SDK for JavaScript: one client object, whoever asks. It calls tools by itself, with its tool runner.

import { readFileSync } from 'node:fs'
import Anthropic from '@anthropic-ai/sdk'
import { betaTool } from '@anthropic-ai/sdk/helpers/beta/json-schema'
import { VERSION } from '@anthropic-ai/sdk/version'

const plan = JSON.parse(readFileSync(0, 'utf8'))
const tell = (line) => console.log(JSON.stringify(line))
tell({ client: 'anthropic', version: VERSION })

const client = new Anthropic({ baseURL: plan.url, apiKey: 'set for each turn', defaultHeaders: plan.headers })

const say = async (ofUser, asked) => {
  if (!plan.stream) {
    const { data, response } = await ofUser.messages.create(asked).withResponse()
    return { message: data, headers: response.headers }
  }
  const { data, response } = await ofUser.messages.stream(asked).withResponse()
  return { message: await data.finalMessage(), headers: response.headers }
}

const sayWithTools = async (ofUser, asked) => {
  const { name, description, parameters: inputSchema } = plan.tool
  const tool = betaTool({ name, description, inputSchema, run: ({ city }) => `12 degrees in ${city}` })
  const runner = ofUser.beta.messages.toolRunner({ ...asked, tools: [tool], stream: plan.stream, thread: false })
  return { message: await runner.runUntilDone(), headers: new Headers() }
}

for (const turn of plan.turns) {
  const ofUser = client.withOptions({ apiKey: turn.token })
  const asked = { model: 'm', max_tokens: 64, messages: [{ role: 'user', content: turn.text }] }
  const { message, headers } = await (plan.tool ? sayWithTools : say)(ofUser, asked)
  tell({
    text: message.content.map((block) => block.text).join(''),
    receipt: headers.get('Backstory-Memory'),
    conversation: headers.get('Backstory-Conversation'),
  })
}
